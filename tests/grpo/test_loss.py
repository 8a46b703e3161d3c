from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.config.objective import ObjectiveConfig, ObjectiveName
from gen_searcher.grpo.loss import row_loss, step_denominator
from gen_searcher.grpo.objectives.tokens import PolicyTokens
from gen_searcher.grpo.sft_loss import sft_loss
from tests.grpo.objectives.by_hand import PUBLISHED, HandObjective, HandSequence, hand_loss, ragged
from tests.grpo.objectives.rows import config_of, plain, row_of

LOW, HIGH = 0.2, 0.28
NAMES = list(PUBLISHED)
KNOBS = [
    {},
    {"average": "token-mean"},
    {"average": "token-sum-norm", "longest": 31},
    {"average": "seq-mean-token-mean"},
    {"average": "seq-mean-token-sum"},
    {"kl": "k1", "kl_coefficient": 0.3},
    {"kl": "k2", "kl_coefficient": 0.3},
    {"kl": "k3", "kl_coefficient": 0.3},
    {"correction": "truncate-token", "cap": 1.5},
    {"correction": "truncate-sequence", "cap": 1.5},
    {"correction": "mask-token", "cap": 1.5},
    {"correction": "mask-sequence", "cap": 4.0},
]
SEQUENCES_ONLY = {"gspo": {"seq-mean-token-mean", "seq-mean-token-sum"}, "rloo": {"seq-mean-token-mean"}}


def combinations() -> list[tuple[str, HandObjective]]:
    """Every objective with every knob that is defined for it."""
    found: list[tuple[str, HandObjective]] = []
    for name, published in PUBLISHED.items():
        for knob in KNOBS:
            hand = replace(published, **knob)
            is_allowed = hand.average in SEQUENCES_ONLY.get(name, {hand.average})
            if is_allowed and not (name == "rloo" and hand.correction.endswith("-token")):
                found.append((name, hand))
    return found


def gentle(name: str) -> list[HandSequence]:
    """Whole sequences have ratios of some per mille or some tenths: each objective gets both sides of its bounds."""
    seed, drift = {"gspo": (25, 2e-3), "rloo": (25, 0.4), "cispo": (0, 2.4)}.get(name, (0, 0.9))
    sequences = ragged(seed, drift=drift)
    return [replace(s, log_kept=[]) if name == "rloo" else s for s in sequences]


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "cut and moved on"])
@pytest.mark.parametrize(("name", "hand"), combinations())
def test_loss_and_gradient_are_those_on_paper(name: str, hand: HandObjective, is_plain: bool):
    sequences = gentle(name)
    if is_plain:
        sequences = [replace(s, log_kept=[], start=[]) for s in sequences]
    row, objective = row_of(sequences), config_of(name, hand)
    expected = hand_loss(sequences, hand)
    loss = row_loss(
        row, objective=objective, denominator=step_denominator(objective, trained_tokens=32, samples=5)
    ).loss
    (gradient,) = torch.autograd.grad(loss, row.logprobs)
    assert float(loss.detach()) == pytest.approx(expected.loss, rel=1e-12, abs=1e-14)
    assert gradient.tolist() == pytest.approx([g for part in expected.gradients for g in part], rel=1e-10, abs=1e-14)
    assert gradient.abs().max() > 1e-6


@pytest.mark.parametrize(("name", "hand"), combinations())
def test_two_half_batches_are_one_whole_in_loss_and_gradient(name: str, hand: HandObjective):
    sequences, objective = gentle(name), config_of(name, hand)
    denominator = step_denominator(objective, trained_tokens=32, samples=5)
    whole, halves = row_of(sequences), [row_of(sequences[:2]), row_of(sequences[2:])]
    loss = row_loss(whole, objective=objective, denominator=denominator).loss
    shares = [row_loss(half, objective=objective, denominator=denominator).loss for half in halves]
    assert float(sum(s.detach() for s in shares)) == pytest.approx(float(loss.detach()), rel=1e-12, abs=1e-15)
    (gradient,) = torch.autograd.grad(loss, whole.logprobs)
    parts = [torch.autograd.grad(s, h.logprobs)[0] for s, h in zip(shares, halves, strict=True)]
    assert (torch.cat(parts) - gradient).abs().max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_both_bounds_are_active_in_the_batch_that_the_numbers_come_from(name: str):
    objective = config_of(name, PUBLISHED[name])
    result = row_loss(row_of(plain(gentle(name))), objective=objective, denominator=5)
    assert int(result.clipped_high) > 0
    assert int(result.clipped_low) > 0 or name == "cispo"
    assert int(result.clipped_low) + int(result.clipped_high) < 32


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_what_grpo_reports_is_what_its_tokens_did(dtype: torch.dtype, tolerance: float):
    sequences = plain(ragged())
    result = row_loss(row_of(sequences, dtype), objective=ObjectiveConfig(), denominator=5)
    assert float(result.loss.detach()) == pytest.approx(hand_loss(sequences, PUBLISHED["grpo"]).loss, abs=tolerance)
    ratios = [(math.exp(n - o), s.advantage) for s in sequences for n, o in zip(s.logprobs, s.old, strict=True)]
    assert int(result.clipped_low) == sum(r < 1 - LOW and a < 0 for r, a in ratios) > 0
    assert int(result.clipped_high) == sum(r > 1 + HIGH and a > 0 for r, a in ratios) > 0
    assert float(result.ratio_max) == pytest.approx(max(r for r, _ in ratios), rel=1e-6)
    assert float(result.kl_sum_nats) == pytest.approx(sum(r - 1 - math.log(r) for r, _ in ratios), rel=1e-5)
    assert float(result.mismatch_sum_nats) == pytest.approx(sum(abs(math.log(r)) for r, _ in ratios), rel=1e-5)
    assert float(result.mismatch_max_nats) == pytest.approx(max(abs(math.log(r)) for r, _ in ratios), rel=1e-5)
    assert float(result.weight_sum) == len(ratios)
    assert float(result.reference_kl_sum_nats) == 0.0


def test_the_default_is_bit_for_bit_the_plain_formula_in_float32():
    row = row_of(plain(ragged(3)), torch.float32)
    ratio = (row.logprobs - row.old_logprobs).exp()
    bounded = ratio.clamp(1.0 - LOW, 1.0 + HIGH) * row.advantages
    expected = -torch.minimum(ratio * row.advantages, bounded).sum() / 5
    loss = row_loss(row, objective=ObjectiveConfig(), denominator=5).loss
    assert float(loss.detach()) == float(expected.detach())
    wanted, found = torch.autograd.grad(expected, row.logprobs), torch.autograd.grad(loss, row.logprobs)
    assert torch.equal(wanted[0], found[0])


def test_a_clipped_token_has_no_gradient_and_a_free_one_has_its_ratio_times_advantage():
    tokens = PolicyTokens(
        logprobs=torch.tensor([0.0, -0.5, 0.5, -0.1], dtype=torch.float64, requires_grad=True),
        old_logprobs=torch.zeros(4, dtype=torch.float64),
        advantages=torch.tensor([1.0, -1.0, 1.0, -2.0], dtype=torch.float64),
    )
    loss = row_loss(tokens, objective=ObjectiveConfig(), denominator=1).loss
    (grad,) = torch.autograd.grad(loss, tokens.logprobs)
    assert grad.tolist() == pytest.approx([-1.0, 0.0, 0.0, 2.0 * math.exp(-0.1)])


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_trained_tokens_adds_nothing(name: ObjectiveName):
    empty = torch.zeros(0, requires_grad=True)
    tokens = PolicyTokens(
        logprobs=empty,
        old_logprobs=empty.detach(),
        advantages=empty.detach(),
        segments=torch.zeros(0, dtype=torch.int64),
        log_kept=empty.detach(),
    )
    result = row_loss(tokens, objective=ObjectiveConfig(name=name), denominator=7)
    assert float(result.loss.detach()) == 0.0
    assert float(result.ratio_max) == 0.0
    result.loss.backward()
    assert empty.grad is not None


@given(
    name=st.sampled_from(NAMES),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    seed=st.integers(0, 2**16),
)
def test_on_policy_every_objective_pushes_each_token_along_its_advantage(name: str, lengths: list[int], seed: int):
    generator = torch.Generator().manual_seed(seed)
    advantages = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    sequences = []
    for length, advantage in zip(lengths, advantages.tolist(), strict=True):
        old = (-4 * torch.rand(length, generator=generator, dtype=torch.float64)).tolist()
        sequences.append(HandSequence(logprobs=old, old=old, advantage=advantage))
    row, objective = row_of(sequences), config_of(name, replace(PUBLISHED[name], longest=9))
    denominator = step_denominator(objective, trained_tokens=sum(lengths), samples=len(lengths))
    (gradient,) = torch.autograd.grad(row_loss(row, objective=objective, denominator=denominator).loss, row.logprobs)
    share = {
        "grpo": [1 / len(lengths)] * len(lengths),
        "dr_grpo": [1 / (9 * len(lengths))] * len(lengths),
        "dapo": [1 / sum(lengths)] * len(lengths),
        "cispo": [1 / sum(lengths)] * len(lengths),
        "gspo": [1 / (len(lengths) * length) for length in lengths],
        "rloo": [1 / len(lengths)] * len(lengths),
    }[name]
    expected = [-a * s for a, s, length in zip(advantages.tolist(), share, lengths, strict=True) for _ in range(length)]
    assert gradient.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_kl_term_without_a_reference_is_refused():
    objective = ObjectiveConfig.model_validate({"kl": {"coefficient": 0.1}})
    with pytest.raises(ValueError, match="without reference log-probabilities"):
        row_loss(row_of(plain(ragged())), objective=objective, denominator=5)


def test_imitation_is_cross_entropy_per_token():
    assert float(sft_loss(torch.tensor([-1.0, -2.0, -0.5]), trained_tokens=5)) == pytest.approx(0.7)
