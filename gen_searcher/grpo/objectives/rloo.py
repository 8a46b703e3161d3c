"""RLOO: the whole sequence is one action, compared with the group's other sequences."""

from __future__ import annotations

from torch import Tensor

from gen_searcher.grpo.objectives.grpo import clipped
from gen_searcher.grpo.objectives.tokens import Surrogate, segment_sums


def rloo(log_ratio: Tensor, advantages: Tensor, segments: Tensor, *, clip_low: float, clip_high: float) -> Surrogate:
    """Each token of a sequence gets the sequence's clipped loss.

        p_i = exp( sum_n log_ratio_n ),    loss_i = - min(p_i A_i, clip(p_i, 1 - clip_low, 1 + clip_high) A_i)

    On policy p_i = 1 and the gradient is REINFORCE's, `- A_i grad log pi(y_i)`, of https://arxiv.org/abs/2402.14740; the
    clipped ratio bounds what a stale sample can do. A product over thousands of tokens leaves the range soon:
    `name=grpo, baseline=leave-one-out, advantage_scale=none` clips each token instead.

    Args:
        log_ratio: [N] new minus old log-probability; carries the gradient.
        advantages: [N] from a leave-one-out baseline.
        segments: [N] sequence of each token.
        clip_low: How far below 1 a ratio still counts.
        clip_high: How far above 1 a ratio still counts.
    """
    product = segment_sums(log_ratio, segments).exp()
    return clipped(product[segments], advantages, clip_low=clip_low, clip_high=clip_high)
