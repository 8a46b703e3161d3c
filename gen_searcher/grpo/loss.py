"""The clipped policy-gradient loss of GRPO: log-probabilities and advantages -> a scalar and what clipping did.

Legend: N trained tokens of one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen_searcher.config.optim import Aggregation


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTokens:
    """The trained tokens of one row."""

    logprobs: Tensor
    """[N] under the weights being trained; carries the gradient."""
    old_logprobs: Tensor
    """[N] under the policy that sampled."""
    advantages: Tensor
    """[N]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoLoss:
    """The row's share of the step's loss, and sums to report."""

    loss: Tensor
    """[] this row's share: the shares of all rows and ranks add up to the loss of the step."""
    clipped_low: Tensor
    """[] tokens whose ratio fell below 1 - clip_low and lost their gradient."""
    clipped_high: Tensor
    """[] tokens whose ratio rose above 1 + clip_high and lost their gradient."""
    kl_sum_nats: Tensor
    """[] sum over tokens of r - 1 - ln r, an unbiased estimate of KL(sampler || policy)."""
    mismatch_sum_nats: Tensor
    """[] sum over tokens of |ln r|."""
    mismatch_max_nats: Tensor
    """[] largest |ln r|; 0 for a row without trained tokens. In a synchronous run with one update per step the weights
    are those that sampled, so this is the gap between the engine's and the learner's log-probabilities."""
    ratio_max: Tensor
    """[] largest ratio; 0 for a row without trained tokens."""


def loss_denominator(aggregation: Aggregation, *, trained_tokens: int, samples: int) -> int:
    """What the summed token losses are divided by. Both counts are over every row and rank of the step."""
    count = samples if aggregation == "seq-mean-token-sum" else trained_tokens
    if count < 1:
        raise ValueError(f"a step with {trained_tokens} trained tokens of {samples} samples has nothing to learn from")
    return count


def grpo_loss(tokens: PolicyTokens, *, clip_low: float, clip_high: float, denominator: int) -> GrpoLoss:
    r"""GRPO's objective without a KL term, with separate lower and upper clip range.

        r_n  = exp(logprob_n - old_logprob_n)
        loss = - 1/D  sum_n  min(r_n A_n,  clip(r_n, 1 - clip_low, 1 + clip_high) A_n)

    Equation 3 of DeepSeekMath, https://arxiv.org/abs/2402.03300; the higher upper bound is "clip-higher" of DAPO,
    https://arxiv.org/abs/2503.14476. D = samples gives `seq-mean-token-sum` (the tokens of a sequence are summed,
    sequences averaged: what the Gen-Searcher paper trains with), D = trained tokens gives `token-mean`.

    Args:
        tokens: The row's trained tokens.
        clip_low: How far below 1 a ratio still counts.
        clip_high: How far above 1 a ratio still counts.
        denominator: D, from `loss_denominator`: of the whole step, never of one row.
    """
    log_ratio = tokens.logprobs - tokens.old_logprobs
    ratio = log_ratio.exp()
    free = ratio * tokens.advantages
    bounded = ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * tokens.advantages
    loss = -torch.minimum(free, bounded).sum() / denominator
    with torch.no_grad():
        is_bound = bounded < free
        return GrpoLoss(
            loss=loss,
            clipped_low=(is_bound & (ratio < 1.0)).sum(),
            clipped_high=(is_bound & (ratio > 1.0)).sum(),
            kl_sum_nats=(ratio - 1.0 - log_ratio).sum(),
            mismatch_sum_nats=log_ratio.abs().sum(),
            mismatch_max_nats=log_ratio.abs().max() if ratio.numel() else ratio.new_zeros(()),
            ratio_max=ratio.max() if ratio.numel() else ratio.new_zeros(()),
        )
