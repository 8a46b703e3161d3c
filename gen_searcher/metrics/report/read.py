"""A run directory on disk -> values. What is missing is empty; what is damaged is skipped and said in `notes`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError

from gen_searcher.drawing import DrawnHow
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine

Read = TypeVar("Read")
Numbers = dict[str, float]

ERROR_CHARS = 400

_ROW = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskHead:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _RewardHead:
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _CallHead:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResultHead:
    kind: str = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class _TurnHead:
    call: _CallHead | None = None
    result: _ResultHead | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrajectoryHead:
    outcome: str
    turns: tuple[_TurnHead, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _JudgementHead:
    judge: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _DrawingHead:
    how: DrawnHow
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AttemptHead:
    trajectory: _TrajectoryHead
    reward: _RewardHead
    seed: int = 0
    drawing: _DrawingHead | None = None
    judgements: tuple[_JudgementHead, ...] = ()
    shadow: tuple[_JudgementHead, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _LostHead:
    stage: str
    seed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LineHead:
    """The little of an attempt line that choosing and counting need; the rest is not kept in memory."""

    step: int
    group: str
    task: _TaskHead
    attempt: _AttemptHead | None
    lost: _LostHead | None


_HEAD = TypeAdapter(_LineHead)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One tool call that ran."""

    name: str
    kind: str
    """A `ToolKind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where one attempt lies in its file, and what it is worth."""

    file: Path
    offset: int
    """Bytes from the start of the file to the start of the line."""
    step: int
    group: str
    task_id: str
    outcome: str
    """An `Outcome`, or `lost`."""
    stage: str
    """Where a lost attempt was lost; empty otherwise."""
    reward: float | None
    """None when lost."""
    drawn: DrawnHow | None = None
    """How the picture came about; None without a grounding, and when lost."""
    reason: str = ""
    """Of `drawn`."""
    seed: int = 0
    error: str = ""
    """Why it was lost, cut to `ERROR_CHARS`; empty otherwise."""
    tools: tuple[ToolUse, ...] = ()
    """In the order of the calls."""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """Judge to its score; a judge that only watches is `NAME (watching)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed(Generic[Read]):
    """One good line of a JSONL file."""

    offset: int
    value: Read


def jsonl(file: Path, adapter: TypeAdapter[Read], *, notes: list[str]) -> Iterator[Parsed[Read]]:
    """Good lines, in order. Bad ones are counted; a bad last line is what a killed writer leaves behind."""
    if not file.is_file():
        return
    bad: list[int] = []
    number, offset = 0, 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            start, offset = offset, offset + len(line)
            if not line.strip():
                continue
            try:
                value = adapter.validate_json(line)
            except ValidationError:
                bad.append(number)
                continue
            yield Parsed(offset=start, value=value)
    place = f"{file.parent.name}/{file.name}"
    if bad == [number]:
        notes.append(f"{place}: the last line ({number}) is not complete, as when a run is killed; it is left out.")
    elif bad:
        shown = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        notes.append(f"{place}: {len(bad)} lines cannot be read (lines {shown}); they are left out.")


def read_metrics(file: Path, *, notes: list[str]) -> tuple[Series, ...]:
    """One series per name. A step that was written twice (a resumed run) counts as it was written last."""
    by_name: dict[str, dict[int, float]] = {}
    for parsed in jsonl(file, _ROW, notes=notes):
        step = parsed.value.get("step")
        if not isinstance(step, int):
            notes.append(f"{file.parent.name}/{file.name}: a line without a step is left out.")
            continue
        for name, value in parsed.value.items():
            if name != "step" and isinstance(value, int | float) and not isinstance(value, bool):
                by_name.setdefault(name, {})[step] = float(value)
    return tuple(
        Series(name=name, steps=tuple(sorted(values)), values=tuple(values[step] for step in sorted(values)))
        for name, values in by_name.items()
    )


def read_entries(file: Path, *, notes: list[str]) -> tuple[Entry, ...]:
    """The attempts of a file, in the order in which they ended."""
    return tuple(_entry(file, parsed.offset, parsed.value) for parsed in jsonl(file, _HEAD, notes=notes))


def _entry(file: Path, offset: int, head: _LineHead) -> Entry:
    reward = head.attempt.reward.total if head.attempt else None
    drawing = head.attempt.drawing if head.attempt else None
    return Entry(
        file=file,
        offset=offset,
        step=head.step,
        group=head.group,
        task_id=head.task.id,
        outcome=head.attempt.trajectory.outcome if head.attempt else "lost",
        stage=head.lost.stage if head.lost else "",
        reward=reward if reward is not None and math.isfinite(reward) else None,
        drawn=drawing.how if drawing else None,
        reason=drawing.reason if drawing else "",
        seed=head.attempt.seed if head.attempt else head.lost.seed if head.lost else 0,
        error=head.lost.error[:ERROR_CHARS] if head.lost else "",
        tools=_tools(head.attempt) if head.attempt else (),
        scores=_scores(head.attempt) if head.attempt else {},
    )


def _tools(attempt: _AttemptHead) -> tuple[ToolUse, ...]:
    used = ((turn.call, turn.result) for turn in attempt.trajectory.turns)
    return tuple(ToolUse(name=call.name, kind=result.kind) for call, result in used if call and result)


def _scores(attempt: _AttemptHead) -> dict[str, float]:
    said = {one.judge: one.score for one in attempt.judgements}
    said |= {f"{one.judge} (watching)": one.score for one in attempt.shadow}
    return {name: score for name, score in said.items() if math.isfinite(score)}


def read_line(entry: Entry) -> AttemptLine | None:
    """The whole attempt; None when it does not follow the format."""
    with entry.file.open("rb") as lines:
        lines.seek(entry.offset)
        try:
            return ATTEMPT_LINE.validate_json(lines.readline())
        except ValidationError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One row of the benchmark table."""

    name: str
    numbers: Numbers
    """Finite numbers of the row, `k_score`, `low` and `high` among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One paired comparison of two arms on the same tasks."""

    better: str
    baseline: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    arms: tuple[dict[str, JsonValue], ...] = ()
    paired: tuple[Pair, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The benchmark's result."""

    arms: tuple[Arm, ...] = ()
    paired: tuple[Pair, ...] = ()
    title: str = "Benchmark"


_TABLE = TypeAdapter(_Table)


def read_table(file: Path, *, notes: list[str]) -> Table:
    """The table of arms; empty when the run has none."""
    if not file.is_file():
        return Table()
    try:
        raw = _TABLE.validate_json(file.read_bytes())
    except ValidationError as error:
        notes.append(f"{file.parent.name}/{file.name} cannot be read: {error.error_count()} errors; it is left out.")
        return Table()
    arms = tuple(Arm(name=str(row.get("arm", "?")), numbers=_numbers(row)) for row in raw.arms)
    return Table(arms=arms, paired=raw.paired, title=raw.title or "Benchmark")


def read_more_tables(folder: Path, *, notes: list[str]) -> tuple[Table, ...]:
    """The tables of suites and sweeps, each in a folder of its own below the benchmark's, by the folders' names."""
    tables = (read_table(file, notes=notes) for file in sorted(folder.glob("*/table.json")))
    return tuple(table for table in tables if table.arms)


def _numbers(row: dict[str, JsonValue]) -> Numbers:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One resolved config, as it was written."""

    name: str
    text: str


def read_configs(folder: Path) -> tuple[ConfigFile, ...]:
    """All configs of the run, by name."""
    files = sorted(folder.glob("*.yaml"))
    return tuple(ConfigFile(name=file.stem, text=file.read_text(encoding="utf-8", errors="replace")) for file in files)


def config_digest(configs: tuple[ConfigFile, ...]) -> str:
    """First 12 hex digits of one SHA-256 over names and texts: equal digests, equal settings."""
    text = "".join(f"{config.name}\n{len(config.text)}\n{config.text}" for config in configs)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
