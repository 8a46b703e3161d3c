"""Every objective a second time: loops over plain Python floats, gradients derived on paper, nothing of the package."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HandSequence:
    """The trained tokens of one trajectory."""

    logprobs: list[float]
    old: list[float]
    advantage: float
    reference: list[float] = field(default_factory=list[float])
    log_kept: list[float] = field(default_factory=list[float])
    start: list[float] = field(default_factory=list[float])
    """Empty: the weights have not changed since the step began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandObjective:
    """Settings under names of its own, so that a wrong default of ours does not reach both sides."""

    kind: str
    """`clip`, `sequence-mean-clip`, `sequence-product-clip` or `bounded-weight`."""
    low: float
    high: float
    average: str
    longest: int = 0
    kl: str = ""
    kl_coefficient: float = 0.0
    correction: str = ""
    """`truncate` or `mask`, then `-token` or `-sequence`."""
    cap: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandLoss:
    loss: float
    gradients: list[list[float]]
    """Of each sequence, of each token: by its log-probability."""


PUBLISHED = {
    "grpo": HandObjective(kind="clip", low=0.2, high=0.28, average="seq-mean-token-sum"),
    "dr_grpo": HandObjective(kind="clip", low=0.2, high=0.2, average="token-sum-norm", longest=40),
    "dapo": HandObjective(kind="clip", low=0.2, high=0.28, average="token-mean"),
    "gspo": HandObjective(kind="sequence-mean-clip", low=3e-4, high=4e-4, average="seq-mean-token-mean"),
    "cispo": HandObjective(kind="bounded-weight", low=1.0, high=4.0, average="token-mean"),
    "rloo": HandObjective(kind="sequence-product-clip", low=0.2, high=0.2, average="seq-mean-token-mean"),
}


def hand_loss(sequences: Sequence[HandSequence], objective: HandObjective) -> HandLoss:
    """The objective of the whole batch."""
    tokens = sum(len(sequence.logprobs) for sequence in sequences)
    total, gradients = 0.0, list[list[float]]()
    for sequence in sequences:
        length = len(sequence.logprobs)
        share = {
            "seq-mean-token-sum": 1.0 / len(sequences),
            "seq-mean-token-mean": 1.0 / (len(sequences) * length),
            "token-mean": 1.0 / tokens,
            "token-sum-norm": 1.0 / (len(sequences) * max(objective.longest, 1)),
        }[objective.average]
        losses, slopes = _terms(sequence, objective)
        total += share * math.fsum(losses)
        gradients.append([share * slope for slope in slopes])
    return HandLoss(loss=total, gradients=gradients)


def _terms(sequence: HandSequence, objective: HandObjective) -> tuple[list[float], list[float]]:
    """Loss of each token, and by each log-probability the slope of their sum."""
    new, length = sequence.logprobs, len(sequence.logprobs)
    start = sequence.start or new
    old = start if objective.correction else sequence.old
    logs = [a - b for a, b in zip(new, old, strict=True)]
    weights = _weights(sequence, start, objective)
    a = sequence.advantage
    if objective.kind == "clip":
        pairs = [_clipped(math.exp(log), a, objective) for log in logs]
        losses = [w * loss for w, (loss, _) in zip(weights, pairs, strict=True)]
        slopes = [w * slope for w, (_, slope) in zip(weights, pairs, strict=True)]
    elif objective.kind == "bounded-weight":
        bounded = [min(max(math.exp(log), 1 - objective.low), 1 + objective.high) for log in logs]
        losses = [-w * b * a * lp for w, b, lp in zip(weights, bounded, new, strict=True)]
        slopes = [-w * b * a for w, b in zip(weights, bounded, strict=True)]
    else:
        per_token = 1.0 / length if objective.kind == "sequence-mean-clip" else 1.0
        loss, slope = _clipped(math.exp(per_token * math.fsum(logs)), a, objective)
        losses = [w * loss for w in weights]
        slopes = [math.fsum(weights) * slope * per_token] * length
    if objective.kl_coefficient:
        terms = [_kl(n - r, objective.kl) for n, r in zip(new, sequence.reference, strict=True)]
        losses = [loss + objective.kl_coefficient * k for loss, (k, _) in zip(losses, terms, strict=True)]
        slopes = [slope + objective.kl_coefficient * d for slope, (_, d) in zip(slopes, terms, strict=True)]
    return losses, slopes


def _clipped(ratio: float, advantage: float, objective: HandObjective) -> tuple[float, float]:
    """Loss, and its slope by the logarithm of the ratio."""
    bounded = min(max(ratio, 1 - objective.low), 1 + objective.high)
    if bounded * advantage < ratio * advantage:
        return -bounded * advantage, 0.0
    return -ratio * advantage, -ratio * advantage


def _kl(difference: float, estimator: str) -> tuple[float, float]:
    return {
        "k1": (difference, 1.0),
        "k2": (difference**2 / 2, difference),
        "k3": (math.exp(-difference) - 1 + difference, 1 - math.exp(-difference)),
    }[estimator]


def _weights(sequence: HandSequence, start: list[float], objective: HandObjective) -> list[float]:
    length = len(sequence.logprobs)
    kept = [math.exp(value) for value in sequence.log_kept or [0.0] * length]
    if objective.kind == "sequence-mean-clip":
        kept = [math.prod(kept) ** (1 / length)] * length
    if not objective.correction:
        return kept
    how, level = objective.correction.split("-")
    gaps = [s - o for s, o in zip(start, sequence.old, strict=True)]
    if level == "sequence":
        gaps = [math.fsum(gaps)] * length
    raw = [math.exp(gap) for gap in gaps]
    if how == "truncate":
        return [k * min(weight, objective.cap) for k, weight in zip(kept, raw, strict=True)]
    return [
        k * (weight if 1 / objective.cap <= weight <= objective.cap else 0.0)
        for k, weight in zip(kept, raw, strict=True)
    ]


def ragged(seed: int = 0, *, drift: float = 0.9) -> list[HandSequence]:
    """Five trajectories of 7, 1, 12, 3 and 9 tokens, advantages of both signs, ratios up to exp(drift)."""
    rng = random.Random(seed)
    sequences: list[HandSequence] = []
    for length, advantage in ((7, 1.3), (1, -0.4), (12, -1.1), (3, 0.2), (9, 0.8)):
        old = [rng.uniform(-6, -0.1) for _ in range(length)]
        sequences.append(
            HandSequence(
                logprobs=[value + rng.uniform(-drift, drift) for value in old],
                old=old,
                advantage=advantage,
                reference=[value + rng.uniform(-0.5, 0.5) for value in old],
                log_kept=[math.log(rng.uniform(0.6, 1.0)) for _ in old],
                start=[value + rng.uniform(-drift, drift) for value in old],
            )
        )
    return sequences
