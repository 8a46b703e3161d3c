"""One stage: rows -> work, each row once -> rows, rejects, a report. A killed stage goes on where it was.

    in.jsonl -> read -> journal of finished work -> out.jsonl + rejects/STAGE.jsonl + reports/STAGE.json

The journal's key is the digest of the stage's settings and of the whole row, so that after a change only what it touches
is done again. The three files appear whole, in the order of the input, when every row has an outcome. What the outside
spoils is no outcome: such rows stay open and are tried by the next start.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar, cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from gen_searcher.bench.journal import Journal, digest
from gen_searcher.bench.knowgen import complaint
from gen_searcher.bench.rowfile import id_problem, read_rows, shown
from gen_searcher.data.rows import Proposal, Reject, Rejected, Row, StageName
from gen_searcher.errors import Outage, TooManyLost, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")
R = TypeVar("R", bound=Proposal | Row)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OUTPUTS: Mapping[StageName, str] = {
    StageName.PROPOSE: "proposals",
    StageName.COLLECT: "collected",
    StageName.DRAW: "drawn",
    StageName.VERIFY: "verified",
    StageName.DEDUPE: "unique",
    StageName.SPLIT: "placed",
    StageName.EXPORT: "exported",
}
REJECT = TypeAdapter(Reject)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolder:
    """The files of a pipeline. Only this class knows them."""

    root: Path

    def rows(self, stage: StageName) -> Path:
        """What a stage made."""
        return self.root / f"{_OUTPUTS[stage]}.jsonl"

    def rejects(self, stage: StageName) -> Path:
        """What it turned away, one reason each."""
        return self.root / "rejects" / f"{stage}.jsonl"

    def journal(self, stage: StageName) -> Path:
        """What it has done so far."""
        return self.root / "journals" / f"{stage}.jsonl"

    def report(self, stage: StageName) -> Path:
        """Its counts."""
        return self.root / "reports" / f"{stage}.json"

    @property
    def export(self) -> Path:
        """The data sets."""
        return self.root / "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Located(Generic[In]):
    """A row, and where it stands."""

    file: str
    line: int
    value: In


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs(Generic[In]):
    """What a file holds: rows that can be worked on, and what is wrong with the others."""

    rows: tuple[Located[In], ...]
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Generic[Out]):
    """What came of one row."""

    rows: tuple[Out, ...] = ()
    rejects: tuple[Reject, ...] = ()
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[In, Out]):
    """What is done with each row."""

    name: StageName
    who: str
    """Digest of everything but the row that shapes the outcome."""
    takes: TypeAdapter[In]
    gives: TypeAdapter[Out]
    ident: Callable[[In], str]
    work: Callable[[In], Awaitable[Made[Out]]]
    """Raises Rejected for a row that goes no further, WorldError for one that the outside spoiled."""
    sift: Callable[[Out], Reject | None] | None = None
    """Decides over finished work without doing it again: thresholds may change freely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What a stage did."""

    stage: str
    taken: int
    """Rows of the input, unreadable ones too."""
    made: int
    rejected: Mapping[str, int]
    """By reason."""
    resumed: int
    """Rows whose outcome was there already."""
    cost_usd: float
    """Over all outcomes, rejected and earlier ones too."""
    wall_s: float
    """Of this start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    rows: tuple[JsonValue, ...]
    rejects: tuple[Reject, ...]
    cost_usd: float


_ENTRY = TypeAdapter(_Entry)
_IMPOSSIBLE = "impossible"
"""Why a row is rejected that a service cannot take."""


def row_id(row: Proposal | Row) -> str:
    """The id that a row keeps through all stages."""
    return row.id if isinstance(row, Proposal) else row.proposal.id


def read_stage(path: Path, adapter: TypeAdapter[R], *, stage: StageName, store: ImageStore) -> Inputs[R]:
    """The rows of a file that an earlier stage, or a stranger, wrote.

    Raises:
        DataError: There is no such file, or not one row of it can be read.
    """
    file = read_rows(path)
    rows: list[Located[R]] = []
    rejects = [
        Reject(stage=stage, id=one.row, reason="malformed", details=one.what, file=one.file, line=one.line)
        for one in file.problems
    ]
    taken: dict[str, int] = {}
    for line in file.lines:
        bad = Reject(
            stage=stage, id=shown(line.values.get("id", "")), reason="", details="", file=str(path), line=line.number
        )
        try:
            value = adapter.validate_python(line.values)
        except ValidationError as error:
            rejects.append(replace(bad, reason="malformed", details=complaint(error)))
            continue
        mine = row_id(value)
        bad = replace(bad, id=shown(mine))
        if (wrong := id_problem(mine)) is not None:
            rejects.append(replace(bad, reason="bad_id", details=wrong))
        elif mine in taken:
            rejects.append(replace(bad, reason="duplicate_id", details=f"id: taken by line {taken[mine]}"))
        elif (lack := _missing_picture(adapter.dump_python(value), store)) is not None:
            rejects.append(replace(bad, reason="missing_picture", details=lack))
        else:
            taken[mine] = line.number
            rows.append(Located(file=str(path), line=line.number, value=value))
    return Inputs(rows=tuple(rows), rejects=tuple(rejects))


async def run_stage(
    stage: Stage[In, Out],
    inputs: Inputs[In],
    folder: DataFolder,
    *,
    concurrency: int,
    lost: str = "stop",
    advance: Callable[[int], None] = lambda done: None,
) -> StageReport:
    """Work on every row that has no outcome yet, at most `concurrency` at once, then write the stage's files.

    When something ends the run (a budget is spent, a judge is gone) what is under way is stopped first: nothing more is
    bought. `advance` hears how many rows have an outcome. `lost` is `data.lost`.

    Raises:
        Outage: Rows were lost to the outside and `lost` is `stop`; nothing is written but the journal.
        TooManyLost: Not one of several rows can be worked on, now or later: a service that takes nothing at all. Nothing
            is kept of that, so that a service that was mended is asked again.
    """
    started_s = time.monotonic()
    with closing(Journal(folder.journal(stage.name))) as journal:
        keys = [digest(stage.name, stage.who, stage.takes.dump_json(row.value).decode()) for row in inputs.rows]
        todo = [index for index, key in enumerate(keys) if journal.get(key) is None]
        spoiled: dict[int, WorldError] = {}
        impossible: dict[int, _Entry] = {}
        gate = asyncio.Semaphore(concurrency)
        done = len(keys) - len(todo)

        async def one(index: int) -> None:
            nonlocal done
            async with gate:
                try:
                    made = await _outcome(stage, inputs.rows[index])
                except WorldError as error:
                    spoiled[index] = error
                    return
            rows = tuple(stage.gives.dump_python(row, mode="json") for row in made.rows)
            entry = _Entry(rows=rows, rejects=made.rejects, cost_usd=made.cost_usd)
            if [one.reason for one in made.rejects] == [_IMPOSSIBLE]:
                impossible[index] = entry
            else:
                journal.put(keys[index], _ENTRY.dump_json(entry))
            done += 1
            advance(done)

        await _all(one(index) for index in todo)
        if len(impossible) == len(keys) > 1:
            raise TooManyLost(
                f"{stage.name}: none of {len(keys)} rows can be worked on, which is hardly their own doing; the first is "
                f"{stage.ident(inputs.rows[0].value)} ({impossible[0].rejects[0].details}). Nothing of it is kept: mend "
                "the service or its settings and run it again"
            )
        for index, entry in impossible.items():
            journal.put(keys[index], _ENTRY.dump_json(entry))
        if spoiled and lost == "stop":
            first = min(spoiled)
            raise Outage(
                f"{stage.name}: {len(spoiled)} of {len(keys)} rows are lost to the outside, the first is "
                f"{stage.ident(inputs.rows[first].value)} ({spoiled[first]}); what is done is kept, run it again to try "
                "only them, or set data.lost=reject"
            )
        entries = [
            _ENTRY.validate_json(value)
            if (value := journal.get(key)) is not None
            else _given_up(stage, row, spoiled[at])
            for at, (key, row) in enumerate(zip(keys, inputs.rows, strict=True))
        ]
    rows, rejects = _sifted(stage, inputs.rows, entries)
    report = write_stage(folder, stage.name, rows, [*inputs.rejects, *rejects], taken=len(keys) + len(inputs.rejects))
    report = replace(
        report,
        resumed=len(keys) - len(todo),
        cost_usd=sum(entry.cost_usd for entry in entries),
        wall_s=time.monotonic() - started_s,
    )
    return keep_report(folder, report)


def write_stage(
    folder: DataFolder, stage: StageName, rows: Sequence[bytes], rejects: Sequence[Reject], *, taken: int
) -> StageReport:
    """Write what a stage made and what it turned away. `rows` are JSON without line ends."""
    write_lines(folder.rejects(stage), [REJECT.dump_json(reject) for reject in rejects])
    write_lines(folder.rows(stage), rows)
    report = StageReport(
        stage=stage,
        taken=taken,
        made=len(rows),
        rejected=dict(sorted(Counter(reject.reason for reject in rejects).items())),
        resumed=0,
        cost_usd=0.0,
        wall_s=0.0,
    )
    return keep_report(folder, report)


def keep_report(folder: DataFolder, report: StageReport) -> StageReport:
    """Write a report beside the others, and return it."""
    write_lines(folder.report(StageName(report.stage)), [json.dumps(asdict(report), indent=1).encode()])
    return report


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file that appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
    temporary.replace(path)


async def _outcome(stage: Stage[In, Out], row: Located[In]) -> Made[Out]:
    """What comes of a row. Raises WorldError for one that another try may mend."""
    bad = Reject(stage=stage.name, id=stage.ident(row.value), reason="", details="", file=row.file, line=row.line)
    try:
        made = await stage.work(row.value)
    except Rejected as no:
        return Made(rejects=(replace(bad, reason=no.reason, details=no.details),), cost_usd=no.cost_usd)
    except WorldError as error:
        if error.passes:
            raise
        return Made(rejects=(replace(bad, reason=_IMPOSSIBLE, details=str(error)),))
    located = [replace(one, file=one.file or row.file, line=one.line or row.line) for one in made.rejects]
    return replace(made, rejects=tuple(located))


async def _all(coroutines: Iterable[Awaitable[None]]) -> None:
    running = [asyncio.ensure_future(one) for one in coroutines]
    try:
        await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _given_up(stage: Stage[In, Out], row: Located[In], error: WorldError) -> _Entry:
    reject = Reject(
        stage=stage.name, id=stage.ident(row.value), reason="lost", details=str(error), file=row.file, line=row.line
    )
    return _Entry(rows=(), rejects=(reject,), cost_usd=0.0)


def _sifted(
    stage: Stage[In, Out], inputs: Sequence[Located[In]], entries: Sequence[_Entry]
) -> tuple[list[bytes], list[Reject]]:
    rows: list[bytes] = []
    rejects: list[Reject] = []
    for given, entry in zip(inputs, entries, strict=True):
        rejects += entry.rejects
        for row in entry.rows:
            no = stage.sift(stage.gives.validate_python(row)) if stage.sift is not None else None
            if no is None:
                rows.append(json.dumps(row, ensure_ascii=False).encode())
            else:
                rejects.append(replace(no, file=given.file, line=given.line))
    return rows, rejects


def _missing_picture(value: object, store: ImageStore) -> str | None:
    """The first picture of a row that the store does not hold."""
    for ref in _pictures(value):
        if _SHA256.fullmatch(ref.sha256) is None:
            return f"{shown(ref.sha256)!r} is no digest of a picture"
        if not store.path(ref).is_file():
            return f"picture {ref.sha256[:12]} is not in {store.root}"
    return None


def _pictures(value: object) -> Iterable[ImageRef]:
    """Every picture reference in a row that was dumped to plain values."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        if fields.keys() == {"sha256", "width_px", "height_px"}:
            yield ImageRef(sha256=str(fields["sha256"]), width_px=0, height_px=0)
            return
        for item in fields.values():
            yield from _pictures(item)
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[object]", value):
            yield from _pictures(item)
