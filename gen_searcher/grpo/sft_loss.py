"""The loss of imitation: log-probabilities of demonstrated tokens -> a scalar."""

from __future__ import annotations

from torch import Tensor


def sft_loss(logprobs: Tensor, *, trained_tokens: int) -> Tensor:
    """Cross-entropy per demonstrated token: `- sum_n logprob_n / D`.

    Args:
        logprobs: [N] of the row's trained tokens.
        trained_tokens: D, over every row and rank of the step, so that the shares of all rows add up.
    """
    if trained_tokens < 1:
        raise ValueError("a step without trained tokens has nothing to imitate")
    return -logprobs.sum() / trained_tokens
