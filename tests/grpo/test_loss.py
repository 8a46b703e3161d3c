from __future__ import annotations

import math
import random
from typing import Literal

import pytest
import torch

from gen_searcher.grpo.loss import PolicyTokens, grpo_loss, loss_denominator
from gen_searcher.grpo.sft_loss import sft_loss

LOW, HIGH = 0.2, 0.28
Aggregation = Literal["seq-mean-token-sum", "token-mean"]


def ragged(seed: int = 0) -> list[list[tuple[float, float, float]]]:
    """Five sequences of (logprob, old logprob, advantage), ratios from 0.4 to 2.5 on both signs of the advantage."""
    rng = random.Random(seed)
    sequences: list[list[tuple[float, float, float]]] = []
    for length, advantage in ((7, 1.3), (1, -0.4), (12, -1.1), (3, 0.2), (9, 0.8)):
        old = [rng.uniform(-6, -0.1) for _ in range(length)]
        sequences.append([(value + rng.uniform(-0.9, 0.9), value, advantage) for value in old])
    return sequences


def by_hand(sequences: list[list[tuple[float, float, float]]], aggregation: Aggregation) -> float:
    """The formula, in plain Python floats."""
    total = 0.0
    for sequence in sequences:
        for logprob, old, advantage in sequence:
            ratio = math.exp(logprob - old)
            total += min(ratio * advantage, min(max(ratio, 1 - LOW), 1 + HIGH) * advantage)
    count = len(sequences) if aggregation == "seq-mean-token-sum" else sum(len(s) for s in sequences)
    return -total / count


def tensors(sequences: list[list[tuple[float, float, float]]], dtype: torch.dtype) -> PolicyTokens:
    columns = torch.tensor([token for sequence in sequences for token in sequence], dtype=dtype).T
    return PolicyTokens(logprobs=columns[0].clone().requires_grad_(), old_logprobs=columns[1], advantages=columns[2])


@pytest.mark.parametrize("aggregation", ["seq-mean-token-sum", "token-mean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_loss_is_the_formula_on_a_ragged_batch_with_both_clips_active(
    aggregation: Aggregation, dtype: torch.dtype, tolerance: float
):
    sequences = ragged()
    tokens = tensors(sequences, dtype)
    denominator = loss_denominator(aggregation, trained_tokens=32, samples=5)
    result = grpo_loss(tokens, clip_low=LOW, clip_high=HIGH, denominator=denominator)
    assert float(result.loss.detach()) == pytest.approx(by_hand(sequences, aggregation), abs=tolerance)
    ratios = [(math.exp(lp - old), advantage) for sequence in sequences for lp, old, advantage in sequence]
    assert int(result.clipped_low) == sum(r < 1 - LOW and a < 0 for r, a in ratios) > 0
    assert int(result.clipped_high) == sum(r > 1 + HIGH and a > 0 for r, a in ratios) > 0
    assert float(result.ratio_max) == pytest.approx(max(r for r, _ in ratios), rel=1e-6)


@pytest.mark.parametrize("aggregation", ["seq-mean-token-sum", "token-mean"])
def test_two_half_batches_are_one_whole_in_loss_and_gradient(aggregation: Aggregation):
    sequences = ragged()
    denominator = loss_denominator(aggregation, trained_tokens=32, samples=5)
    whole = tensors(sequences, torch.float64)
    halves = [tensors(part, torch.float64) for part in (sequences[:2], sequences[2:])]
    loss = grpo_loss(whole, clip_low=LOW, clip_high=HIGH, denominator=denominator).loss
    shares = [grpo_loss(half, clip_low=LOW, clip_high=HIGH, denominator=denominator).loss for half in halves]
    assert float(sum(s.detach() for s in shares)) == pytest.approx(float(loss.detach()), rel=1e-12)
    (grad,) = torch.autograd.grad(loss, whole.logprobs)
    parts = [torch.autograd.grad(s, h.logprobs)[0] for s, h in zip(shares, halves, strict=True)]
    assert (torch.cat(parts) - grad).abs().max() < 1e-12


def test_a_clipped_token_has_no_gradient_and_a_free_one_has_its_ratio_times_advantage():
    tokens = PolicyTokens(
        logprobs=torch.tensor([0.0, -0.5, 0.5, -0.1], dtype=torch.float64, requires_grad=True),
        old_logprobs=torch.zeros(4, dtype=torch.float64),
        advantages=torch.tensor([1.0, -1.0, 1.0, -2.0], dtype=torch.float64),
    )
    loss = grpo_loss(tokens, clip_low=LOW, clip_high=HIGH, denominator=1).loss
    (grad,) = torch.autograd.grad(loss, tokens.logprobs)
    assert grad.tolist() == pytest.approx([-1.0, 0.0, 0.0, 2.0 * math.exp(-0.1)])


def test_a_row_without_trained_tokens_adds_nothing():
    empty = torch.zeros(0, requires_grad=True)
    result = grpo_loss(
        PolicyTokens(logprobs=empty, old_logprobs=empty.detach(), advantages=empty.detach()),
        clip_low=LOW,
        clip_high=HIGH,
        denominator=7,
    )
    assert float(result.loss.detach()) == 0.0
    assert float(result.ratio_max) == 0.0
    result.loss.backward()


def test_a_step_with_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="0 trained tokens of 3 samples"):
        loss_denominator("token-mean", trained_tokens=0, samples=3)


def test_imitation_is_cross_entropy_per_token():
    assert float(sft_loss(torch.tensor([-1.0, -2.0, -0.5]), trained_tokens=5)) == pytest.approx(0.7)
