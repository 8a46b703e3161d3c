"""Importance weights for what the sampler did differently from the learner. No gradient flows through a weight.

With pi the weights being trained, pi_start the learner's at the start of the step, pi_old the full softmax that the
sampler reported and mu what it really drew from (mu = pi_old / kept, on the tokens that top-p and the like left):

    pi / mu  =  pi / pi_start  *  pi_start / pi_old  *  kept

The objective clips the first factor, `mismatch_weights` bounds the second, `kept_weights` is the third. Without correction
the first two stay together, pi / pi_old, and the objective clips them. With kept = 1 the third is 1 and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen_searcher.config.objective import CorrectionConfig, ObjectiveName
from gen_searcher.grpo.objectives.tokens import PolicyTokens, segment_lengths, segment_sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Of each token."""

    weights: Tensor
    """[N]"""
    is_bound: Tensor
    """[N] bool; truncated or dropped."""


@torch.no_grad()
def mismatch_weights(tokens: PolicyTokens, *, correction: CorrectionConfig) -> Weights:
    """Bounded `pi_start / pi_old`, of tokens or of whole sequences.

    Truncated as in https://fengyao.notion.site/off-policy-rl, masked as in IcePop,
    https://ringtech.notion.site/icepop. A sequence's weight is the product over its tokens.

    Args:
        tokens: Of one row.
        correction: Its mode must not be `off`.
    """
    log_weight = tokens.start() - tokens.old_logprobs
    if correction.level == "sequence":
        segments = tokens.sequence_ids()
        log_weight = segment_sums(log_weight, segments)[segments]
    weight = log_weight.exp()
    if correction.mode == "truncate":
        return Weights(weights=weight.clamp(max=correction.cap), is_bound=weight > correction.cap)
    is_outside = (weight > correction.cap) | (weight < 1.0 / correction.cap)
    return Weights(weights=weight.masked_fill(is_outside, 0.0), is_bound=is_outside)


@torch.no_grad()
def kept_weights(tokens: PolicyTokens, *, objective: ObjectiveName) -> Tensor | None:
    """[N] `pi_old / mu = exp(log_kept)`: undoes that the sampler raised the tokens it kept; None when it kept everything.

    A token sampled from the renormalised rest comes up 1 / kept times too often; weighed by kept, the expectation over
    what was sampled is the one over the full softmax, restricted to what could be sampled. For `gspo`, whose ratio is a
    geometric mean, so is this. For `rloo` it would be a product over the sequence, which vanishes: refused.
    """
    if tokens.log_kept is None:
        return None
    if objective == "rloo" and bool((tokens.log_kept != 0.0).any()):
        raise ValueError(
            "rloo weighs whole sequences, and under top-p, top-k or min-p their weight vanishes: sample from the full "
            "softmax, or take name=grpo with baseline=leave-one-out and advantage_scale=none"
        )
    if objective == "gspo":
        segments = tokens.sequence_ids()
        mean = segment_sums(tokens.log_kept, segments) / segment_lengths(tokens.log_kept, segments)
        return mean.exp()[segments]
    return tokens.log_kept.exp()
