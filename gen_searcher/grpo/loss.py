"""The loss of one row: objective, KL term and correction -> a scalar and what to report.

PolicyTokens -> Surrogate (one of the objectives) -> weighed -> row share of the step's loss

Legend: N trained tokens of one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.grpo.objectives.aggregate import loss_denominator, row_share
from gen_searcher.grpo.objectives.cispo import cispo
from gen_searcher.grpo.objectives.correction import kept_weights, mismatch_weights
from gen_searcher.grpo.objectives.grpo import grpo
from gen_searcher.grpo.objectives.gspo import gspo
from gen_searcher.grpo.objectives.kl import kl_estimates
from gen_searcher.grpo.objectives.rloo import rloo
from gen_searcher.grpo.objectives.tokens import PolicyTokens, Surrogate


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLoss:
    """The row's share of the step's loss, and sums to report. Nothing but the loss carries a gradient."""

    loss: Tensor
    """[] this row's share: the shares of all rows and ranks add up to the loss of the step."""
    clipped_low: Tensor
    """[] tokens whose ratio lay so far below 1 that the bound decided; but for CISPO they lose their gradient."""
    clipped_high: Tensor
    """[] the same, above 1."""
    kl_sum_nats: Tensor
    """[] sum over tokens of r - 1 - ln r, an unbiased estimate of KL(sampler || policy)."""
    mismatch_sum_nats: Tensor
    """[] sum over tokens of |ln r|."""
    mismatch_max_nats: Tensor
    """[] largest |ln r|; 0 for a row without trained tokens. In a synchronous run with one update per step the weights
    are those that sampled, so this is the gap between the engine's and the learner's log-probabilities."""
    ratio_max: Tensor
    """[] largest r, of single tokens; 0 for a row without trained tokens."""
    reference_kl_sum_nats: Tensor
    """[] sum over tokens of the estimated KL(policy || starting policy); 0 without a KL term."""
    weight_sum: Tensor
    """[] sum over tokens of the importance weights beside the ratio; the number of tokens without any."""
    weight_bound: Tensor
    """[] tokens whose weight was truncated or dropped."""


def step_denominator(objective: ObjectiveConfig, *, trained_tokens: int, samples: int) -> int:
    """What the objective divides by. Both counts are over every row and rank of the step."""
    return loss_denominator(
        objective.aggregation,
        trained_tokens=trained_tokens,
        samples=samples,
        max_response_tokens=objective.max_response_tokens,
    )


def row_loss(tokens: PolicyTokens, *, objective: ObjectiveConfig, denominator: int) -> RowLoss:
    r"""The configured objective.

        loss = 1/D  sum_n  ( w_n surrogate_n + coefficient kl_n )        (and 1/|y| for `seq-mean-token-mean`)

    The surrogate is that of `objectives/NAME.py`. Its ratio is to the policy that sampled, pi / pi_old; with a correction
    it is to the learner's own at the start of the step, and w_n makes up for the difference; see
    `objectives/correction.py`, also for what w_n is under top-p.

    Args:
        tokens: The row's trained tokens.
        objective: What to optimise.
        denominator: D, from `step_denominator`: of the whole step, never of one row.
    """
    is_corrected = objective.correction.mode != "off"
    old = tokens.start() if is_corrected else tokens.old_logprobs
    surrogate = _surrogate(tokens, tokens.logprobs - old, objective)
    losses = surrogate.losses
    weights: Tensor | None = kept_weights(tokens, objective=objective.name)
    bound = losses.new_zeros((), dtype=torch.int64)
    if is_corrected:
        mismatch = mismatch_weights(tokens, correction=objective.correction)
        weights = mismatch.weights if weights is None else weights * mismatch.weights
        bound = mismatch.is_bound.sum()
    if weights is not None:
        losses = losses * weights
    reference_kl = losses.new_zeros(())
    if objective.kl.coefficient:
        if tokens.reference_logprobs is None:
            raise ValueError("a KL term without reference log-probabilities: give PolicyTokens reference_logprobs")
        estimates = kl_estimates(tokens.logprobs, tokens.reference_logprobs, estimator=objective.kl.estimator)
        losses = losses + objective.kl.coefficient * estimates
        reference_kl = estimates.detach().sum()
    loss = row_share(losses, tokens.segments, aggregation=objective.aggregation, denominator=denominator)
    with torch.no_grad():
        log_ratio = tokens.logprobs - tokens.old_logprobs
        ratio = log_ratio.exp()
        return RowLoss(
            loss=loss,
            clipped_low=(surrogate.is_clipped & (surrogate.ratios < 1.0)).sum(),
            clipped_high=(surrogate.is_clipped & (surrogate.ratios > 1.0)).sum(),
            kl_sum_nats=(ratio - 1.0 - log_ratio).sum(),
            mismatch_sum_nats=log_ratio.abs().sum(),
            mismatch_max_nats=log_ratio.abs().max() if ratio.numel() else ratio.new_zeros(()),
            ratio_max=ratio.max() if ratio.numel() else ratio.new_zeros(()),
            reference_kl_sum_nats=reference_kl,
            weight_sum=(torch.ones_like(ratio) if weights is None else weights).sum(),
            weight_bound=bound,
        )


def _surrogate(tokens: PolicyTokens, log_ratio: Tensor, objective: ObjectiveConfig) -> Surrogate:
    low, high = objective.clip_low, objective.clip_high
    match objective.name:
        case "grpo" | "dr_grpo" | "dapo":
            return grpo(log_ratio, tokens.advantages, clip_low=low, clip_high=high)
        case "cispo":
            return cispo(tokens.logprobs, log_ratio, tokens.advantages, clip_low=low, clip_high=high)
        case "gspo":
            return gspo(log_ratio, tokens.advantages, tokens.sequence_ids(), clip_low=low, clip_high=high)
        case "rloo":
            return rloo(log_ratio, tokens.advantages, tokens.sequence_ids(), clip_low=low, clip_high=high)
