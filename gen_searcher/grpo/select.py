"""Which groups can teach, and which of their attempts."""

from __future__ import annotations

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, MasksConfig, ObjectiveConfig
from gen_searcher.grpo.advantage import shaped_reward
from gen_searcher.types import Attempt, Group

SMALLEST_SPREAD = 1e-6
"""Rewards closer than this are equal: their difference is rounding, not merit."""


def carries_gradient(attempt: Attempt, masks: MasksConfig) -> bool:
    """Whether the policy learns from this attempt. Masked or not, it is scored, reported and compared with."""
    is_worthless = attempt.reward.total <= 0.0
    return attempt.trajectory.outcome not in masks.outcomes and not (masks.worthless and is_worthless)


def has_signal(group: Group, objective: ObjectiveConfig = DEFAULT_OBJECTIVE) -> bool:
    """True when scored attempts of the group earned different rewards and one of them carries a gradient."""
    rewards = [shaped_reward(attempt, objective) for attempt in group.attempts]
    return has_attempts(group, objective) and max(rewards) - min(rewards) > SMALLEST_SPREAD


def has_attempts(group: Group, objective: ObjectiveConfig = DEFAULT_OBJECTIVE) -> bool:
    """True when at least one attempt of the group was scored and carries a gradient."""
    return any(carries_gradient(attempt, objective.masks) for attempt in group.attempts)
