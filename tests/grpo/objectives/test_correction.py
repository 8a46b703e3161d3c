from __future__ import annotations

import math

import pytest
import torch

from gen_searcher.config.objective import CorrectionConfig, ObjectiveConfig
from gen_searcher.grpo.loss import row_loss
from gen_searcher.grpo.objectives.correction import kept_weights, mismatch_weights
from gen_searcher.grpo.objectives.tokens import PolicyTokens

LOGITS = [1.2, 0.3, 0.0, -0.9, -1.5]
KEPT = (0, 1, 2)
"""What top-p 0.85 leaves."""
ADVANTAGES = [0.7, -1.1, 0.4, 2.0, -3.0]


def expected_gradient(*, says_what_it_kept: bool) -> torch.Tensor:
    """Of the logits, over everything the sampler can draw, each draw as likely as the sampler makes it."""
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    full = logits.log_softmax(-1)
    log_kept = full.detach()[list(KEPT)].logsumexp(-1)
    tokens = PolicyTokens(
        logprobs=full[list(KEPT)],
        old_logprobs=full.detach()[list(KEPT)],
        advantages=torch.tensor(ADVANTAGES, dtype=torch.float64)[list(KEPT)],
        log_kept=log_kept.expand(len(KEPT)) if says_what_it_kept else None,
    )
    drawn = (full.detach()[list(KEPT)] - log_kept).exp()
    shares = [
        row_loss(one, objective=ObjectiveConfig(), denominator=1).loss * chance
        for one, chance in zip(_one_by_one(tokens), drawn, strict=True)
    ]
    (gradient,) = torch.autograd.grad(torch.stack(shares).sum(), logits)
    return gradient


def _one_by_one(tokens: PolicyTokens) -> list[PolicyTokens]:
    return [
        PolicyTokens(
            logprobs=tokens.logprobs[n : n + 1],
            old_logprobs=tokens.old_logprobs[n : n + 1],
            advantages=tokens.advantages[n : n + 1],
            log_kept=None if tokens.log_kept is None else tokens.log_kept[n : n + 1],
        )
        for n in range(len(tokens.logprobs))
    ]


def test_under_top_p_the_expected_gradient_is_that_of_the_full_softmax_over_what_was_kept():
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    chances = logits.softmax(-1)
    value = -(chances[list(KEPT)] * torch.tensor(ADVANTAGES, dtype=torch.float64)[list(KEPT)]).sum()
    (exact,) = torch.autograd.grad(value, logits)
    assert (expected_gradient(says_what_it_kept=True) - exact).abs().max() < 1e-12
    kept = float(chances.detach()[list(KEPT)].sum())
    assert kept == pytest.approx(0.900, abs=1e-3)
    assert (expected_gradient(says_what_it_kept=False) * kept - exact).abs().max() < 1e-12


def test_a_sampler_that_kept_everything_changes_no_bit():
    old = torch.tensor([-1.0, -2.0, -0.3])
    for name in ("grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo"):
        found: list[torch.Tensor] = []
        for log_kept in (None, torch.zeros(3)):
            logprobs = torch.tensor([-1.1, -1.7, -0.3], requires_grad=True)
            tokens = PolicyTokens(
                logprobs=logprobs,
                old_logprobs=old,
                advantages=torch.tensor([0.7, 0.7, -1.3]),
                segments=torch.tensor([0, 0, 1]),
                log_kept=log_kept,
            )
            result = row_loss(tokens, objective=ObjectiveConfig.model_validate({"name": name}), denominator=3)
            found += [result.loss.detach(), *torch.autograd.grad(result.loss, logprobs)]
        assert torch.equal(found[0], found[2]), name
        assert torch.equal(found[1], found[3]), name


def test_rloo_refuses_a_sampler_that_cut_something_off():
    tokens = PolicyTokens(
        logprobs=torch.zeros(2),
        old_logprobs=torch.zeros(2),
        advantages=torch.ones(2),
        log_kept=torch.tensor([0.0, -0.1]),
    )
    with pytest.raises(ValueError, match="their weight vanishes"):
        kept_weights(tokens, objective="rloo")


def weighed(mode: str, level: str) -> tuple[list[float], list[bool]]:
    """Weights of 0.4, 0.9 and 3.0 in one sequence (1.08 in all), 1.5 and 1.6 in the other (2.4 in all); cap 2."""
    tokens = PolicyTokens(
        logprobs=torch.tensor([0.4, 0.9, 3.0, 1.5, 1.6], dtype=torch.float64).log(),
        old_logprobs=torch.zeros(5, dtype=torch.float64),
        advantages=torch.ones(5, dtype=torch.float64),
        segments=torch.tensor([0, 0, 0, 1, 1]),
    )
    correction = CorrectionConfig.model_validate({"mode": mode, "level": level, "cap": 2.0})
    found = mismatch_weights(tokens, correction=correction)
    return found.weights.tolist(), found.is_bound.tolist()


@pytest.mark.parametrize(
    ("mode", "level", "weights", "bound"),
    [
        ("truncate", "token", [0.4, 0.9, 2.0, 1.5, 1.6], [2]),
        ("mask", "token", [0.0, 0.9, 0.0, 1.5, 1.6], [0, 2]),
        ("truncate", "sequence", [1.08, 1.08, 1.08, 2.0, 2.0], [3, 4]),
        ("mask", "sequence", [1.08, 1.08, 1.08, 0.0, 0.0], [3, 4]),
    ],
)
def test_weights_are_bounded_or_dropped_as_tokens_or_as_sequences(
    mode: str, level: str, weights: list[float], bound: list[int]
):
    found, is_bound = weighed(mode, level)
    assert found == pytest.approx(weights)
    assert [index for index, value in enumerate(is_bound) if value] == bound


def test_with_correction_the_ratio_starts_at_one_and_no_clip_binds():
    tokens = PolicyTokens(
        logprobs=torch.tensor([-0.2, -3.0], dtype=torch.float64, requires_grad=True),
        old_logprobs=torch.tensor([-1.0, -1.0], dtype=torch.float64),
        advantages=torch.tensor([1.0, -1.0], dtype=torch.float64),
    )
    objective = ObjectiveConfig.model_validate({"correction": {"mode": "truncate", "cap": 2.0}})
    result = row_loss(tokens, objective=objective, denominator=1)
    (gradient,) = torch.autograd.grad(result.loss, tokens.logprobs)
    assert gradient.tolist() == pytest.approx([-2.0, math.exp(-2.0)])
    assert (int(result.clipped_low), int(result.clipped_high), int(result.weight_bound)) == (0, 0, 1)
    assert float(result.weight_sum) == pytest.approx(2.0 + math.exp(-2.0))
    assert float(result.mismatch_max_nats) == pytest.approx(2.0)
