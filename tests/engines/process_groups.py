"""What engines of one process leave to each other; in a run each has a process of its own."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportPrivateUsage=false
# (torch and deepspeed are only partly typed)

from __future__ import annotations

import sys

from torch.distributed import distributed_c10d


def forget_ended_groups() -> None:
    """vLLM ends torch's process groups with its engine; DeepSpeed would go on with the one of an earlier test's learner."""
    groups = sys.modules.get("deepspeed.utils.groups")
    if groups is not None and groups._WORLD_GROUP not in distributed_c10d._world.pg_group_ranks:
        groups._WORLD_GROUP = None
