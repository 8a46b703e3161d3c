"""Rewards of one group -> advantages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Scale = Literal["std", "none"]

EPSILON = 1e-6
"""Keeps the division finite when all rewards are nearly equal; the value of the GRPO paper's implementations."""


def group_advantages(rewards_G: Sequence[float], *, scale: Scale = "std") -> tuple[float, ...]:
    """Say how much better each attempt was than its group.

    `A_i = (r_i - mean(r)) / (std(r) + 1e-6)` with the sample standard deviation (ddof = 1), equation 3 of
    DeepSeekMath, https://arxiv.org/abs/2402.03300. With `scale="none"` the division is left out, as proposed by
    Dr. GRPO, https://arxiv.org/abs/2503.20783.

    Args:
        rewards_G: [G] total rewards of the attempts that were scored. Lost attempts are not among them.
        scale: `std` divides by the group's spread, `none` only centres.

    Returns:
        [G] advantages. All zero for a group of one and for equal rewards: there is nothing to compare.
    """
    if len(rewards_G) < 2 or max(rewards_G) == min(rewards_G):
        return (0.0,) * len(rewards_G)
    mean = math.fsum(rewards_G) / len(rewards_G)
    centred = [reward - mean for reward in rewards_G]
    if scale == "none":
        return tuple(centred)
    std = math.sqrt(math.fsum(value * value for value in centred) / (len(rewards_G) - 1))
    return tuple(value / (std + EPSILON) for value in centred)
