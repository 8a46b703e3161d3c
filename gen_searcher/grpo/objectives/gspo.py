"""GSPO: one ratio for a whole sequence, the geometric mean of its tokens' ratios, clipped."""

from __future__ import annotations

from torch import Tensor

from gen_searcher.grpo.objectives.grpo import clipped
from gen_searcher.grpo.objectives.tokens import Surrogate, segment_lengths, segment_sums


def gspo(log_ratio: Tensor, advantages: Tensor, segments: Tensor, *, clip_low: float, clip_high: float) -> Surrogate:
    """Each token of a sequence gets the sequence's clipped loss.

        s_i = exp( 1/|y_i| sum_n log_ratio_n ),    loss_i = - min(s_i A_i, clip(s_i, 1 - clip_low, 1 + clip_high) A_i)

    Equations 5 and 7 of https://arxiv.org/abs/2507.18071. |y_i| counts the trained tokens of the sequence.

    Args:
        log_ratio: [N] new minus old log-probability; carries the gradient.
        advantages: [N]
        segments: [N] sequence of each token.
        clip_low: The paper has 3e-4.
        clip_high: The paper has 4e-4.
    """
    mean = segment_sums(log_ratio, segments) / segment_lengths(log_ratio, segments)
    return clipped(mean.exp()[segments], advantages, clip_low=clip_low, clip_high=clip_high)
