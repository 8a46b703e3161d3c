"""Does the learner see what the sampler saw? A batch, scored by the learner -> the widest disagreement -> go on or stop.

Sampler and learner compute the same softmax with different code. Where they disagree, every ratio of the loss is off
by that much, and nothing else tells: a wrong picture size, a stale output head or another temperature train all the
same, only worse.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.errors import UserError
from gen_searcher.types import Attempt, Group, Sample, StepReport

log = logging.getLogger(__name__)

GAP_METRIC = "learner/logprob_gap_max_nats"
WHAT_TO_CHECK = (
    "Check that the rollout workers hold the learner's weights (run directory on a file system that all workers share, "
    "policy.path unchanged), and that nothing else samples differently: agent.temperature, policy.dtype. With "
    "policy.dtype=bfloat16 single tokens are off by some tenths of a nat: grpo.max_logprob_gap_nats=0.5 allows that"
)


class MismatchError(UserError):
    """Sampler and learner disagree on how likely the sampled tokens are: the gradient would be wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredToken:
    """One sampled token and what both sides say of it."""

    task_id: str
    seed: int
    """Of the attempt, as in attempts.jsonl."""
    turn: int
    """From 0."""
    place: int
    """Within the turn's completion, from 0."""
    token_id: int
    version: int
    """Policy version that sampled it."""
    sampled: float
    """Log-probability as sampled."""
    learned: float
    """Log-probability by the learner."""

    @property
    def gap_nats(self) -> float:
        """Infinite when one of the two is not a number."""
        gap = abs(self.sampled - self.learned)
        return math.inf if math.isnan(gap) else gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """The token on which sampler and learner are furthest apart."""

    token: ScoredToken
    compared: int
    """Tokens that were looked at."""

    def __str__(self) -> str:
        """Where, and the two numbers."""
        at = self.token
        return (
            f"task {at.task_id}, attempt of seed {at.seed}, turn {at.turn}, token {at.place} (id {at.token_id}) has "
            f"log-probability {at.sampled:.6g} as sampled and {at.learned:.6g} by the learner, {at.gap_nats:.3g} nats "
            f"apart, the most of {self.compared} tokens"
        )


def widest(
    groups: Sequence[Group],
    samples: Sequence[Sample],
    scored: Mapping[Sample, Sequence[float]],
    *,
    version: int,
) -> Disagreement | None:
    """The widest disagreement over the tokens that `version` sampled; None when there is none to compare.

    Args:
        groups: Groups of the batch.
        samples: One for each attempt, in the order of the groups.
        scored: The learner's log-probabilities of each sample's trained tokens, at weights `version`.
        version: The weights that scored.
    """
    attempts = [(group.task.id, attempt) for group in groups for attempt in group.attempts]
    apart = [
        token
        for (task_id, attempt), sample in zip(attempts, samples, strict=True)
        for token in _tokens(task_id, attempt, scored[sample])
        if token.version == version
    ]
    if not apart:
        return None
    return Disagreement(token=max(apart, key=lambda token: token.gap_nats), compared=len(apart))


def _tokens(task_id: str, attempt: Attempt, learned: Sequence[float]) -> list[ScoredToken]:
    sampled = [
        (number, place, turn)
        for number, turn in enumerate(attempt.trajectory.turns)
        for place in range(len(turn.completion_ids))
    ]
    return [
        ScoredToken(
            task_id=task_id,
            seed=attempt.seed,
            turn=number,
            place=place,
            token_id=turn.completion_ids[place],
            version=turn.versions[place],
            sampled=turn.logprobs[place],
            learned=mine,
        )
        for (number, place, turn), mine in zip(sampled, learned, strict=True)
    ]


def check_first_batch(found: Disagreement | None, *, bound_nats: float | None) -> None:
    """Say what was found before the first step changes any weight. Raises MismatchError beyond the bound."""
    if found is None:
        log.warning("no token of the first batch could be compared: all were sampled by older weights")
        return
    log.info("sampler and learner before the first step: %s", found)
    if bound_nats is not None and found.token.gap_nats > bound_nats:
        raise MismatchError(
            f"sampler and learner disagree, grpo.max_logprob_gap_nats={bound_nats:g} is exceeded before the first step: "
            f"{found}. Nothing was trained. {WHAT_TO_CHECK}"
        )


def check_step(report: StepReport, *, step: int, bound_nats: float | None) -> None:
    """Hold the gap of a step against the bound. Raises MismatchError.

    Only for synchronous runs with one update per batch: there the weights that a step starts from are those that
    sampled its batch, so that the gap is the two codes' and not the policy's way since.
    """
    if bound_nats is None:
        return
    gap_nats = report.metrics[GAP_METRIC]
    if not gap_nats <= bound_nats:
        raise MismatchError(
            f"sampler and learner disagree, grpo.max_logprob_gap_nats={bound_nats:g} is exceeded in step {step}: a token "
            f"of its batch is {gap_nats:.3g} nats apart ({GAP_METRIC}). The last checkpoint is from before this step; "
            f"running the same command again compares its first batch token by token. {WHAT_TO_CHECK}"
        )
