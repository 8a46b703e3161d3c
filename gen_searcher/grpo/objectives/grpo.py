"""GRPO: each token's probability ratio, clipped. Dr. GRPO and DAPO share it."""

from __future__ import annotations

import torch
from torch import Tensor

from gen_searcher.grpo.objectives.tokens import Surrogate


def clipped(ratio: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Surrogate:
    """PPO's pessimistic surrogate with separate lower and upper range.

        loss_n = - min(r_n A_n,  clip(r_n, 1 - clip_low, 1 + clip_high) A_n)

    Equation 3 of DeepSeekMath, https://arxiv.org/abs/2402.03300; the higher upper bound is "clip-higher" of DAPO,
    https://arxiv.org/abs/2503.14476.

    Args:
        ratio: [N] new over old probability; carries the gradient.
        advantages: [N]
        clip_low: How far below 1 a ratio still counts.
        clip_high: How far above 1 a ratio still counts.
    """
    free = ratio * advantages
    bounded = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages
    return Surrogate(losses=-torch.minimum(free, bounded), ratios=ratio.detach(), is_clipped=(bounded < free).detach())


def grpo(log_ratio: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Surrogate:
    """`clipped` with the ratio of each token, `r_n = exp(log_ratio_n)`. [N] each."""
    return clipped(log_ratio.exp(), advantages, clip_low=clip_low, clip_high=clip_high)
