"""What the arms of a published benchmark share: its files, what was paid for already, and what was wrong on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gen_searcher.bench.journal import Journal
from gen_searcher.bench.knowgen import KnowgenFiles, read_groundings
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.bench.rowfile import Problem
from gen_searcher.bench.suite import Suite
from gen_searcher.bench.wise import LEGACY, VERIFIED, WiseFiles
from gen_searcher.commands.remembered import Remembered
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.benchmark import BenchmarkConfig
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from gen_searcher.data.tasks import chosen
from gen_searcher.errors import ConfigError
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.types import Grounding, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One benchmark in one run directory."""

    place: Workplace
    benchmark: BenchmarkConfig
    folder: Path
    """`bench/NAME/` of the run directory."""
    files: PictureFiles
    memory: Remembered
    suite: Suite
    judge: Plug
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[str] = field(default_factory=list[str])
    """What a reader of the table must know."""
    others: set[str] = field(default_factory=set[str])
    """Ids of the benchmark's rows that `bench.tasks` leaves out; `published` finds them, for all arms alike."""

    @property
    def cfg(self) -> RunConfig:
        """The run's configuration."""
        return self.place.cfg

    def published(self) -> tuple[Task, ...]:
        """`bench.tasks` of the usable published rows; empty where none are named and the arms' files hold the rows.

        `bench.tasks` then chooses among the usable rows of all of those files: an arm whose file lacks some of the chosen
        ones is scored on the rest of them, and on no others.
        """
        rows = self.benchmark.rows
        found = self._read(*rows) if rows else ()
        ids = {task.id for task in found} if rows else self._ids_of_arms()
        self.others.update(ids - chosen(ids, self.cfg.bench.tasks))
        return self._without_others(found)

    def tasks(self, path: Path) -> tuple[Task, ...]:
        """The usable rows of an arm's own file, of those that `bench.tasks` chose."""
        return self._without_others(self._read(path))

    def groundings(self, arm: str) -> Mapping[str, Grounding | None]:
        """What somebody else's agent found, as much of it as the generator takes; what is wrong or left out is noted."""
        most = plug_capability(self.cfg.generator).max_references
        read = read_groundings(self.benchmark.groundings[arm], self.files, most=most)
        self.note(read.problems)
        self.left_aside(arm, len(read.groundings.keys() & self.others))
        return read.groundings

    def _read(self, *paths: Path) -> tuple[Task, ...]:
        """Usable rows; what is wrong with the others is noted."""
        found = self.suite.tasks(paths)
        self.note(found.problems)
        return found.tasks

    def _without_others(self, tasks: Sequence[Task]) -> tuple[Task, ...]:
        return tuple(task for task in tasks if task.id not in self.others)

    def _ids_of_arms(self) -> set[str]:
        """Of the rows of the arms' files; none where all of them are asked for, as nothing is to be chosen then."""
        if self.cfg.bench.tasks is None:
            return set()
        arms = self.benchmark
        found = {task.id for path in (*arms.groundings.values(), *arms.drawn.values()) for task in self._read(path)}
        return found | {row.id for path in arms.scored.values() for row in self.suite.scored(path, ()).rows}

    def left_aside(self, arm: str, rows: int) -> None:
        """Say how many rows an arm has on tasks that `bench.tasks` leaves out."""
        if rows:
            self.notes.append(f"{arm}: {rows} more rows are there and left out, as bench.tasks={self.cfg.bench.tasks}")

    def note(self, problems: Sequence[Problem]) -> None:
        """Keep problems; a row that a second reading stumbles over is named already."""
        named = {(problem.file, problem.line) for problem in self.problems if problem.line}
        self.problems.extend(problem for problem in problems if (problem.file, problem.line) not in named)


@contextlib.contextmanager
def open_desk(place: Workplace) -> Generator[Desk]:
    """Open a benchmark's files in the run directory."""
    benchmark = place.cfg.bench.benchmark
    judge = None if benchmark is None else benchmark.judge or place.cfg.judges.get(IMAGE)
    if benchmark is None or judge is None:
        raise ConfigError("bench.benchmark: choose one (benchmark=knowgen) and a judge for it (judges.image)")
    folder = place.folder.root / "bench" / benchmark.kind
    with contextlib.ExitStack() as opened:
        memory = opened.enter_context(Remembered.open(folder, cfg=place.cfg, store=place.store))
        read = opened.enter_context(contextlib.closing(Journal(folder / "files.jsonl")))
        files = PictureFiles(place.store, read)
        yield Desk(
            place=place,
            benchmark=benchmark,
            folder=folder,
            files=files,
            memory=memory,
            suite=_suite(benchmark, files, place),
            judge=judge,
        )


def _suite(benchmark: BenchmarkConfig, files: PictureFiles, place: Workplace) -> Suite:
    match benchmark.kind:
        case "knowgen":
            return KnowgenFiles(files, place.store)
        case "wise-legacy":
            return WiseFiles(files, LEGACY)
        case "wise-verified":
            return WiseFiles(files, VERIFIED)
