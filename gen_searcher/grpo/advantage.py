"""Group -> rewards, shaped -> advantages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gen_searcher.config.objective import AdvantageScale, Baseline, ObjectiveConfig
from gen_searcher.grpo.objectives.dapo import overlong_penalty
from gen_searcher.types import Attempt, Group, Trajectory

EPSILON = 1e-6
"""Keeps the division finite when all rewards are nearly equal; the value of the GRPO paper's implementations."""


def group_advantages(
    rewards_G: Sequence[float], *, scale: AdvantageScale = "std", baseline: Baseline = "mean"
) -> tuple[float, ...]:
    """Say how much better each attempt was than its group.

    `A_i = (r_i - mean(r)) / (std(r) + 1e-6)` with the sample standard deviation (ddof = 1), equation 3 of
    DeepSeekMath, https://arxiv.org/abs/2402.03300. With `scale="none"` the division is left out, as proposed by
    Dr. GRPO, https://arxiv.org/abs/2503.20783. With `baseline="leave-one-out"` the mean is that of the *other* attempts,
    which is `G / (G - 1)` times as far away: RLOO, https://arxiv.org/abs/2402.14740.

    Args:
        rewards_G: [G] total rewards of the attempts that were scored. Lost attempts are not among them.
        scale: `std` divides by the group's spread, `none` only centres.
        baseline: What each reward is compared with.

    Returns:
        [G] advantages. All zero for a group of one and for equal rewards: there is nothing to compare.
    """
    if len(rewards_G) < 2 or max(rewards_G) == min(rewards_G):
        return (0.0,) * len(rewards_G)
    mean = math.fsum(rewards_G) / len(rewards_G)
    centred = [reward - mean for reward in rewards_G]
    if baseline == "leave-one-out":
        centred = [value * len(rewards_G) / (len(rewards_G) - 1) for value in centred]
    if scale == "none":
        return tuple(centred)
    std = math.sqrt(math.fsum(value * value for value in centred) / (len(rewards_G) - 1))
    return tuple(value / (std + EPSILON) for value in centred)


def attempt_advantages(group: Group, objective: ObjectiveConfig) -> tuple[float, ...]:
    """[G] advantages of the group's scored attempts as the objective wants them.

    Every scored attempt is compared, those too that carry no gradient (`objective.masks`): a mask decides who learns, not
    who is compared with.
    """
    return group_advantages(
        [shaped_reward(attempt, objective) for attempt in group.attempts],
        scale=objective.advantage_scale,
        baseline=objective.baseline,
    )


def shaped_reward(attempt: Attempt, objective: ObjectiveConfig) -> float:
    """The attempt's reward less its penalty for length. Only advantages see it; what is reported is the plain reward."""
    return attempt.reward.total + length_penalty(attempt.trajectory, objective)


def length_penalty(trajectory: Trajectory, objective: ObjectiveConfig) -> float:
    """What the trajectory's length costs it, 0 or less."""
    if not objective.overlong_penalty:
        return 0.0
    return overlong_penalty(
        sum(len(turn.completion_ids) for turn in trajectory.turns),
        max_response_tokens=objective.max_response_tokens,
        penalty=objective.overlong_penalty,
        frac=objective.overlong_frac,
    )
