"""A run directory -> the latencies that it measured: attempts.jsonl, metrics.jsonl -> Workload."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from gen_searcher.errors import ConfigError
from gen_searcher.metrics.report.read import jsonl, read_metrics
from gen_searcher.plan.latency import Latency, Recorded
from gen_searcher.plan.shape import Shape, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    latency_s: float = 0.0
    result: _Result | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trajectory:
    turns: tuple[_Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    judge: str
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    trajectory: _Trajectory
    judgements: tuple[_Judgement, ...]
    drawing: _Drawing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The little of an attempt line that a plan needs."""

    attempt: _Attempt | None


_LINE = TypeAdapter(_Line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run took, as a workload and as the step time that a plan can be held against."""

    workload: Workload
    step_s: float | None
    """Median time from one step to the next; None for fewer than two steps."""
    attempts: int


def read_measured(folder: Path, stated: Workload, shape: Shape) -> Measured:
    """The latencies of the run; what it did not measure is as `stated`.

    A turn is recorded as it went among others: with b turns under way on average, `1 + slowdown * (b - 1)` times what it
    would have taken alone, and it is divided by that. `shape` is the one of the recorded run.

    Raises:
        ConfigError: There is no attempt in the folder.
    """
    notes: list[str] = []
    lines = [line.value.attempt for line in jsonl(folder / "grpo" / "attempts.jsonl", _LINE, notes=notes)]
    attempts = [attempt for attempt in lines if attempt is not None]
    if not attempts:
        raise ConfigError(f"plan.recorded: {folder / 'grpo' / 'attempts.jsonl'} holds no attempt")
    series = {one.name: one.values for one in read_metrics(folder / "grpo" / "metrics.jsonl", notes=notes)}
    times_s = series.get("time_s", ())
    gaps_s = [after - before for before, after in itertools.pairwise(times_s) if after > before]
    steps_s = series.get("learner/step_s", ())
    workload = _latencies(attempts, stated)
    if gaps_s and isinstance(workload.turn_s, Recorded):
        waits_s = len(gaps_s) * statistics.fmean(steps_s) if steps_s and shape.max_staleness == 0 else 0.0
        span_s = sum(gaps_s) - waits_s if sum(gaps_s) > waits_s else sum(gaps_s)
        share = len(gaps_s) / len(times_s)
        workload = replace(workload, turn_s=_alone(workload.turn_s, span_s=span_s, share=share, shape=shape))
    trained, flat = sum(series.get("train/groups_count", ())), sum(series.get("train/dropped_count", ()))
    if steps_s and trained:
        rank_s = sum(steps_s) * shape.learner_ranks
        workload = replace(workload, learn_s=rank_s / (trained * shape.group_size), flat_frac=flat / (trained + flat))
    return Measured(workload=workload, step_s=statistics.median(gaps_s) if gaps_s else None, attempts=len(attempts))


def _latencies(attempts: Sequence[_Attempt], stated: Workload) -> Workload:
    turns = [turn for attempt in attempts for turn in attempt.trajectory.turns]
    grounded = [attempt for attempt in attempts if attempt.judgements or attempt.drawing is not None]
    judges = dict.fromkeys(judgement.judge for attempt in grounded for judgement in attempt.judgements)
    verdicts = [
        [judgement.latency_s for attempt in grounded for judgement in attempt.judgements if judgement.judge == name]
        for name in judges
    ]
    drawings = [attempt.drawing.latency_s for attempt in grounded if attempt.drawing is not None]
    return replace(
        stated,
        turns=tuple(len(attempt.trajectory.turns) for attempt in attempts if attempt.trajectory.turns),
        turn_s=_recorded([turn.latency_s for turn in turns], stated.turn_s),
        tool_s=_recorded([turn.result.latency_s for turn in turns if turn.result is not None], stated.tool_s),
        draw_s=_recorded(drawings, stated.draw_s),
        judges_s=tuple(Recorded(seconds=tuple(one)) for one in verdicts) or stated.judges_s,
        grounded_frac=len(grounded) / len(attempts),
    )


def _recorded(seconds: Sequence[float], stated: Latency) -> Latency:
    """Runs that did not measure it hold zeros."""
    return Recorded(seconds=tuple(seconds)) if any(seconds) else stated


def _alone(turn_s: Recorded, *, span_s: float, share: float, shape: Shape) -> Recorded:
    """`span_s` is the time in which this share of the turns was made; a synchronous run makes none while it learns."""
    at_once = sum(turn_s.seconds) * share / (span_s * shape.engines.workers)
    slowdown = 1.0 + shape.engines.kind.slowdown * max(0.0, min(at_once, shape.engines.kind.batch) - 1.0)
    return Recorded(seconds=tuple(seconds / slowdown for seconds in turn_s.seconds))
