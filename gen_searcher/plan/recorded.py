"""A run directory -> the work that it did: attempts.jsonl, metrics.jsonl, ledger.sqlite -> Workload.

an attempt's end - its verdicts - its drawing - its turns and calls, backwards -> when each of them was under way
-> what each would have taken alone (`plan.timeline`) -> whole groups in their order, to be begun again
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from gen_searcher.errors import ConfigError
from gen_searcher.ledger.times import Ending, Times, read_times
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import jsonl, read_metrics
from gen_searcher.plan.latency import Latency, Recorded
from gen_searcher.plan.ranks import longest_share
from gen_searcher.plan.shape import AttemptWork, GroupWork, SearchWork, Shape, Workload
from gen_searcher.plan.station import StationKind
from gen_searcher.plan.timeline import Curve, PoolSpans, Span, alone_s, fitted_slowdown, merged, shared_speed
from gen_searcher.rewards.compose import IMAGE

FITTED_TURNS = 5000
"""The last ones of a run say how its engines slow down; more say it no better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()
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
class _Picture:
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    trajectory: _Trajectory
    seed: int
    judgements: tuple[_Judgement, ...]
    drawing: _Drawing | None = None
    more_images: tuple[_Picture, ...] = ()

    @property
    def samples(self) -> int:
        """Pictures that were drawn at once and judged beside each other."""
        return 1 + len(self.more_images)

    @property
    def tokens(self) -> int:
        """That the learner reads."""
        return sum(len(turn.prompt_ids) + len(turn.completion_ids) for turn in self.trajectory.turns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The little of an attempt line that a plan needs."""

    step: int
    group: str
    task: _Task
    advantage: float | None
    attempt: _Attempt | None


_LINE = TypeAdapter(_Line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run took, as a workload and as the step time that a plan can be held against."""

    workload: Workload
    steps_s: Sequence[float]
    """From one step to the next; not those whose groups were begun before anything was warm."""
    attempts: int
    slowdown: float
    """Of `plan.engine`, as it fits the recorded turns best."""
    busy: Mapping[str, Sequence[Span]]
    """When each role had anything to do, by its name in `plan`: engine, generator, reward, learner."""
    booked_s: Mapping[int, float]
    """When each step was published, in seconds since 1970."""

    @property
    def step_s(self) -> float | None:
        """The median; None for fewer than two steps."""
        return statistics.median(self.steps_s) if self.steps_s else None


def read_measured(folder: Path, stated: Workload, shape: Shape) -> Measured:
    """The work of the run; what it did not measure is as `stated`. `shape` is the one of the recorded run.

    The time from the end of a step's attempts and its learning until the step is booked is what publishing takes; a run with
    staleness overlaps them, so there it is as stated.

    Raises:
        ConfigError: There is no attempt in the folder, or no ledger that knows when they ended.
    """
    grpo = folder / "grpo"
    notes: list[str] = []
    lines = [
        line.value for line in jsonl(grpo / "attempts.jsonl", _LINE, notes=notes) if line.value.attempt is not None
    ]
    if not lines:
        raise ConfigError(f"plan.recorded: {grpo / 'attempts.jsonl'} holds no attempt")
    try:
        times = read_times(grpo / "ledger.sqlite")
    except FileNotFoundError as error:
        raise ConfigError(f"plan.recorded: {error} is missing, which says when the attempts ended") from None
    series = {one.name: one for one in read_metrics(grpo / "metrics.jsonl", notes=notes)}
    learner = series.get("learner/step_s")
    learning = {} if learner is None else dict(zip(learner.steps, learner.values, strict=True))
    trained, flat = _total(series, "train/groups_count"), _total(series, "train/dropped_count")
    workload = stated
    if shape.max_staleness == 0:
        workload = replace(workload, publish_s=_publish_s(lines, times, learning, workload.publish_s))
    learns = [
        Span(
            start_s=times.booked_s[step] - workload.publish_s - took_s, end_s=times.booked_s[step] - workload.publish_s
        )
        for step, took_s in learning.items()
        if step in times.booked_s
    ]
    history = _History(lines=lines, times=times, shape=shape, learns=learns)
    token_s = 0.0
    if learns and trained:
        usual_s = statistics.fmean(history.learned_s()[1:] or history.learned_s())  # the first one warms up
        per_step = trained * shape.group_size / len(learning)
        token_s = usual_s * len(learning) / max(1.0, history.tokens_waited_for)
        workload = replace(
            workload, learn_s=usual_s * shape.learner_ranks / per_step, flat_frac=flat / (trained + flat)
        )
    gaps_s = [after - before for before, after in itertools.pairwise(at for _, at in sorted(times.booked_s.items()))]
    return Measured(
        workload=history.workload(workload, token_s=token_s),
        steps_s=[gap_s for gap_s in gaps_s[shape.max_staleness :] or gaps_s if gap_s > 0.0],
        attempts=len(lines),
        slowdown=history.slowdown(),
        busy=history.busy(),
        booked_s=times.booked_s,
    )


def _total(series: Mapping[str, Series], name: str) -> float:
    return sum(series[name].values) if name in series else 0.0


def _publish_s(lines: Sequence[_Line], times: Times, learning: Mapping[int, float], stated_s: float) -> float:
    """Median over the steps."""
    last_s: dict[int, float] = {}
    for line in lines:
        assert line.attempt is not None
        ended_s = times.ended_s.get(Ending(task_id=line.task.id, seed=line.attempt.seed), 0.0)
        last_s[line.step] = max(last_s.get(line.step, 0.0), ended_s)
    after_s = [
        times.booked_s[step] - last_s[step] - took_s
        for step, took_s in learning.items()
        if step in times.booked_s and step in last_s
    ]
    usual_s = after_s[1:] or after_s  # before the first one, the learner scores what was sampled
    return max(0.0, statistics.median(usual_s)) if usual_s else stated_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """Where the work of an attempt lies among that of its pools."""

    line: _Line
    turns: slice
    tools_s: tuple[float, ...]
    draws: slice | None
    verdicts: Mapping[str, slice]


@dataclass(slots=True, kw_only=True)
class _History:
    """What was under way when."""

    lines: Sequence[_Line]
    times: Times
    shape: Shape
    learns: Sequence[Span]
    _turns: list[Span] = field(default_factory=list[Span])
    _tokens: list[int] = field(default_factory=list[int])
    _draws: list[Span] = field(default_factory=list[Span])
    _verdicts: list[Span] = field(default_factory=list[Span])
    _placed: list[_Placed] = field(default_factory=list[_Placed])

    def __post_init__(self) -> None:
        for line in self.lines:
            assert line.attempt is not None
            ended_s = self.times.ended_s.get(Ending(task_id=line.task.id, seed=line.attempt.seed))
            if ended_s is None:
                raise ConfigError(
                    f"plan.recorded: the ledger does not know the attempt at {line.task.id} of seed {line.attempt.seed}"
                )
            self._placed.append(self._place(line, line.attempt, ended_s))

    def _place(self, line: _Line, attempt: _Attempt, ended_s: float) -> _Placed:
        """Backwards from its end."""
        at_s = ended_s - max((one.latency_s for one in attempt.judgements), default=0.0)
        verdicts: dict[str, slice] = {}
        for one in attempt.judgements:
            count = attempt.samples if one.judge == IMAGE else 1
            verdicts[one.judge] = slice(len(self._verdicts), len(self._verdicts) + count)
            self._verdicts += [Span(start_s=at_s, end_s=at_s + one.latency_s)] * count
        draws: slice | None = None
        if attempt.drawing is not None:
            draws = slice(len(self._draws), len(self._draws) + attempt.samples)
            self._draws += [Span(start_s=at_s - attempt.drawing.latency_s, end_s=at_s)] * attempt.samples
            at_s -= attempt.drawing.latency_s
        turns: list[Span] = []
        for turn in reversed(attempt.trajectory.turns):
            at_s -= 0.0 if turn.result is None else turn.result.latency_s
            turns.append(Span(start_s=at_s - turn.latency_s, end_s=at_s))
            at_s -= turn.latency_s
        first = len(self._turns)
        self._turns += reversed(turns)
        self._tokens += [len(turn.completion_ids) for turn in attempt.trajectory.turns]
        waits = [0.0 if turn.result is None else turn.result.latency_s for turn in attempt.trajectory.turns[:-1]]
        return _Placed(
            line=line, turns=slice(first, len(self._turns)), tools_s=tuple(waits), draws=draws, verdicts=verdicts
        )

    @property
    def tokens_waited_for(self) -> float:
        """Of the rank that had most to learn from in each step, over all steps."""
        tokens: dict[int, list[float]] = {}
        for line in self.lines:
            if line.attempt and line.advantage is not None:
                tokens.setdefault(line.step, []).append(line.attempt.tokens)
        return sum(longest_share(step, self.shape.learner_ranks) for step in tokens.values())

    def busy(self) -> dict[str, list[Span]]:
        """See `Measured.busy`."""
        roles = {"engine": self._turns, "generator": self._draws, "reward": self._verdicts, "learner": self.learns}
        return {role: merged(spans) for role, spans in roles.items()}

    def learned_s(self) -> list[float]:
        """What each step of the learner would have taken alone."""
        return self._alone(self.learns, self._learner, 1, self._machine())

    def slowdown(self) -> float:
        """See `Measured.slowdown`."""
        kind, tokens = self.shape.engines.kind, self._tokens[-FITTED_TURNS:]
        engines = self._pool(self._turns[-FITTED_TURNS:], kind, self.shape.engines.workers)
        if len(set(tokens)) < 2 or not any(span.end_s > span.start_s for span in engines.spans):
            return kind.slowdown
        return fitted_slowdown(engines, tokens, self._machine())

    def workload(self, stated: Workload, *, token_s: float) -> Workload:
        """What was measured, in the place of what is stated; `token_s`: what the learner takes for one, 0 when nobody knows.

        The groups that were begun before anything was learned warmed everything up.
        """
        shape, machine = self.shape, self._machine()
        turns_s = self._alone(self._turns, shape.engines.kind, shape.engines.workers, machine)
        draws_s = self._alone(self._draws, shape.generators.kind, shape.generators.workers, machine)
        verdicts_s = self._alone(self._verdicts, shape.judges.kind, shape.judges.workers, machine)
        judges = list(dict.fromkeys(name for one in self._placed for name in one.verdicts))
        grounded = [one for one in self._placed if one.draws is not None or one.verdicts]
        tools_s = [wait_s for one in self._placed for wait_s in one.tools_s if wait_s > 0.0]
        groups: dict[tuple[int, str], list[AttemptWork]] = {}
        flat = set[tuple[int, str]]()
        booked = sorted(self.times.booked_s.keys() & {line.step for line in self.lines})
        warming = [step for step in booked[:-1] if step <= booked[0] + shape.max_staleness]
        for one in self._placed:
            assert one.line.attempt is not None
            if not turns_s[one.turns] or one.line.step in warming or one.line.step not in booked:
                continue
            work = AttemptWork(
                search=SearchWork(
                    turns_s=tuple(turns_s[one.turns]),
                    tools_s=one.tools_s,
                    is_grounded=one.draws is not None or bool(one.verdicts),
                ),
                draw_s=0.0 if one.draws is None else statistics.fmean(draws_s[one.draws]),
                judges_s=tuple(
                    statistics.fmean(verdicts_s[one.verdicts[name]]) if name in one.verdicts else 0.0 for name in judges
                ),
                learn_s=token_s * one.line.attempt.tokens if token_s else stated.learn_s,
            )
            key = (one.line.step, one.line.group)
            groups.setdefault(key, []).append(work)
            if one.line.advantage is None:
                flat.add(key)
        is_whole = any(turns_s) and (any(draws_s) or not self._draws)
        return replace(
            stated,
            turns=tuple(len(one.tools_s) + 1 for one in self._placed if turns_s[one.turns]),
            turn_s=_recorded(turns_s, stated.turn_s),
            tool_s=_recorded(tools_s, stated.tool_s),
            draw_s=_recorded(draws_s, stated.draw_s),
            judges_s=tuple(
                Recorded(
                    seconds=tuple(
                        took for one in grounded if name in one.verdicts for took in verdicts_s[one.verdicts[name]]
                    )
                )
                for name in judges
            )
            or stated.judges_s,
            image_judge=judges.index(IMAGE) if IMAGE in judges else None if judges else stated.image_judge,
            looks=False,  # what was looked at is among the recorded turns
            grounded_frac=len(grounded) / len(self._placed),
            groups=tuple(GroupWork(attempts=tuple(group), is_flat=key in flat) for key, group in groups.items())
            if is_whole
            else (),
        )

    @property
    def _learner(self) -> StationKind:
        return StationKind(batch=1, threads=self.shape.learner_threads)

    def _machine(self) -> Curve:
        shape = self.shape
        return shared_speed(
            [
                self._pool(self._turns, shape.engines.kind, shape.engines.workers),
                self._pool(self._draws, shape.generators.kind, shape.generators.workers),
                self._pool(self._verdicts, shape.judges.kind, shape.judges.workers),
                self._pool(self.learns, self._learner, 1),
            ],
            cores=shape.cores,
        )

    def _pool(self, spans: Sequence[Span], kind: StationKind, workers: int) -> PoolSpans:
        return PoolSpans(spans=spans, kind=kind, workers=workers).served()

    def _alone(self, spans: Sequence[Span], kind: StationKind, workers: int, machine: Curve) -> list[float]:
        return alone_s(self._pool(spans, kind, workers), machine)


def _recorded(seconds: Sequence[float], stated: Latency) -> Latency:
    """Runs that did not measure it hold zeros."""
    return Recorded(seconds=tuple(seconds)) if any(seconds) else stated
