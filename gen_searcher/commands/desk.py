"""What the arms of a published benchmark share: its files, what was paid for already, and what was wrong on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gen_searcher.bench.journal import Journal
from gen_searcher.bench.knowgen import KnowgenFiles
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.bench.rowfile import Problem
from gen_searcher.bench.suite import Suite
from gen_searcher.bench.wise import LEGACY, VERIFIED, WiseFiles
from gen_searcher.commands.remembered import Remembered
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.benchmark import BenchmarkConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from gen_searcher.data.tasks import evenly
from gen_searcher.errors import ConfigError
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.types import Task


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
    """Ids of the benchmark's rows that `bench.tasks` leaves out."""

    @property
    def cfg(self) -> RunConfig:
        """The run's configuration."""
        return self.place.cfg

    def tasks(self, *paths: Path) -> tuple[Task, ...]:
        """`bench.tasks` of the usable rows of benchmark files; what is wrong with the others is noted."""
        if not paths:
            return ()
        found = self.suite.tasks(paths)
        self.note(found.problems)
        chosen = evenly(found.tasks, self.cfg.bench.tasks)
        self.others.update({task.id for task in found.tasks} - {task.id for task in chosen})
        return chosen

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
