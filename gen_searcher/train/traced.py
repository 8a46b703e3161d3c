"""What a trace says of what was made: outcomes and numbers, never a word that anybody wrote."""

from __future__ import annotations

from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import NOTHING, Attributes
from gen_searcher.types import Attempt, Trajectory


def told(made: object) -> Attributes:
    """Of a scored attempt how it ended and what it earned; nothing of a part of one."""
    if not isinstance(made, Attempt):
        return NOTHING
    return {
        **searched(made.trajectory),
        names.REWARD: made.reward.total,
        names.PICTURE: None if made.image is None else made.image.sha256,
    }


def searched(trajectory: Trajectory) -> Attributes:
    """Of a trajectory."""
    turns = trajectory.turns
    versions = [version for turn in turns for version in turn.versions]
    return {
        names.OUTCOME: str(trajectory.outcome),
        names.TURNS: len(turns),
        names.TOOL_CALLS: sum(turn.call is not None for turn in turns),
        names.OUTPUT_TOKENS: sum(len(turn.completion_ids) for turn in turns),
        names.VERSION: versions[-1] if versions else None,
        names.OLDEST_VERSION: min(versions) if versions else None,
    }
