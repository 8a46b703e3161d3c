"""Token losses of a row -> the row's share of the step's loss. The shares of all rows and ranks add up to it."""

from __future__ import annotations

from torch import Tensor

from gen_searcher.config.objective import Aggregation
from gen_searcher.grpo.objectives.dr_grpo import constant_denominator
from gen_searcher.grpo.objectives.tokens import segment_lengths


def loss_denominator(
    aggregation: Aggregation, *, trained_tokens: int, samples: int, max_response_tokens: int | None = None
) -> int:
    """What the summed losses are divided by. Both counts are over every row and rank of the step.

    Args:
        aggregation: How the step averages.
        trained_tokens: Tokens with a gradient.
        samples: Sequences.
        max_response_tokens: The constant of `token-sum-norm`, which alone reads it.
    """
    if trained_tokens < 1 or samples < 1:
        raise ValueError(f"a step with {trained_tokens} trained tokens of {samples} samples has nothing to learn from")
    if aggregation == "token-mean":
        return trained_tokens
    if aggregation == "token-sum-norm":
        if max_response_tokens is None:
            raise ValueError("token-sum-norm divides by a constant: give max_response_tokens")
        return constant_denominator(samples=samples, max_response_tokens=max_response_tokens)
    return samples


def row_share(losses: Tensor, segments: Tensor | None, *, aggregation: Aggregation, denominator: int) -> Tensor:
    """[] the row's share of the loss.

    Args:
        losses: [N] one per trained token.
        segments: [N] sequence of each token; only `seq-mean-token-mean` reads it.
        aggregation: `seq-mean-token-mean` divides each token by the length of its sequence; the others sum.
        denominator: From `loss_denominator`: of the whole step, never of one row.
    """
    if aggregation == "seq-mean-token-mean":
        if segments is None:
            raise ValueError("seq-mean-token-mean looks at whole sequences: give PolicyTokens its segments")
        losses = losses / segment_lengths(losses, segments)[segments]
    return losses.sum() / denominator
