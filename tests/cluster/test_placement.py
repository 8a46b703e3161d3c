# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

from typing import cast

import pytest
import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.placement import actor_options, check_room, packed, spread
from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.errors import UserError

pytestmark = pytest.mark.usefixtures("local_ray")


def test_a_role_becomes_what_ray_is_asked_for() -> None:
    role = RoleConfig(cpus=2, gpus=1, memory_gib=0.5, labels={"market-type": "!spot"})
    assert actor_options(role) == {
        "num_cpus": 2,
        "num_gpus": 1,
        "memory": 2**29,
        "label_selector": {"market-type": "!spot"},
    }
    assert spread(role)["scheduling_strategy"] == "SPREAD"


def test_ranks_that_share_a_laptop_reserve_nothing() -> None:
    assert packed(RoleConfig(), ranks=2) == [actor_options(RoleConfig())] * 2


def test_a_cluster_with_too_few_gpus_is_refused_with_the_sum_of_every_role() -> None:
    cluster = ClusterConfig(
        learner_ranks=4,
        rollout_workers=3,
        roles=RolesConfig(learner=RoleConfig(gpus=1), rollout=RoleConfig(gpus=2)),
    )
    with pytest.raises(UserError) as refused:
        check_room(cluster, command="grpo")
    said = str(refused.value)
    assert "10 GPUs needed, 0 GPUs found" in said
    assert "learner: 4 x 1 GPUs" in said
    assert "rollout: 3 x 2 GPUs" in said
    assert "generator" not in said.split("ask for fewer")[0]
    assert refused.value.exit_code == 3


def test_a_label_that_no_node_carries_is_refused_before_an_actor_waits_for_it_for_ever() -> None:
    node = ray.nodes()[0]["Labels"]["ray.io/node-id"]
    here = RoleConfig(labels={"ray.io/node-id": f"in(x, {node})", "market-type": "!spot"})
    check_room(ClusterConfig(roles=RolesConfig(learner=here)), command="grpo")
    nowhere = RolesConfig(learner=here, tool=RoleConfig(labels={"pool": "browsers"}))
    with pytest.raises(UserError, match="no node of the cluster carries") as refused:
        check_room(ClusterConfig(roles=nowhere), command="grpo")
    assert "tool: pool=browsers" in str(refused.value)
    assert "learner" not in str(refused.value)
    assert refused.value.exit_code == 3


class Where:
    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()


def started(labels: dict[str, str]) -> ActorHandle:
    return cast("ActorHandle", ray.remote(Where).options(**actor_options(RoleConfig(labels=labels))).remote())


def test_the_label_of_a_role_decides_the_node() -> None:
    node = ray.nodes()[0]["Labels"]["ray.io/node-id"]
    here, nowhere = started({"ray.io/node-id": node}), started({"pool": "browsers"})
    assert ray.get(here.node.remote(), timeout=60) == node
    ready, _ = ray.wait([nowhere.node.remote()], timeout=1)
    assert not ready
    ray.kill(here)
    ray.kill(nowhere)
