"""Which groups can teach."""

from __future__ import annotations

from gen_searcher.types import Group

SMALLEST_SPREAD = 1e-6
"""Rewards closer than this are equal: their difference is rounding, not merit."""


def has_signal(group: Group) -> bool:
    """True when at least two scored attempts of the group earned different rewards."""
    rewards = group.rewards
    return len(rewards) >= 2 and max(rewards) - min(rewards) > SMALLEST_SPREAD


def has_attempts(group: Group) -> bool:
    """True when at least one attempt of the group was scored."""
    return bool(group.attempts)
