"""CISPO: REINFORCE on every token, weighed by its ratio, which is bounded and carries no gradient."""

from __future__ import annotations

from torch import Tensor

from gen_searcher.grpo.objectives.tokens import Surrogate


def cispo(logprobs: Tensor, log_ratio: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float) -> Surrogate:
    """No token ever loses its gradient; a bound only limits its weight.

        loss_n = - sg( clip(r_n, 1 - clip_low, 1 + clip_high) ) A_n logprob_n

    Equations 4 and 5 of MiniMax-M1, https://arxiv.org/abs/2506.13585.

    Args:
        logprobs: [N] carries the gradient.
        log_ratio: [N] new minus old log-probability.
        advantages: [N]
        clip_low: 1 for no lower bound, as in the paper.
        clip_high: How far above 1 a weight may lie.
    """
    ratio = log_ratio.detach().exp()
    weight = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return Surrogate(losses=-weight * advantages * logprobs, ratios=ratio, is_clipped=weight != ratio)
