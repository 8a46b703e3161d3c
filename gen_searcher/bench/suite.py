"""What a benchmark's files must give, whichever benchmark: tasks, pictures, verdicts, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gen_searcher.bench.rowfile import Line, Problem, RowFile
from gen_searcher.bench.scheme import Scheme
from gen_searcher.bench.scored import Failure, Scored
from gen_searcher.types import Grounding, ImageRef, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRows:
    """The benchmark itself."""

    tasks: tuple[Task, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRows:
    """Pictures that are there already: every task is in exactly one of the two mappings, by its id."""

    pictures: Mapping[str, ImageRef]
    failures: Mapping[str, Failure]
    problems: tuple[Problem, ...]
    aside: int = 0
    """Rows of the benchmark that nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedRows:
    """What somebody else's agent found: task id -> grounding, None where it found nothing."""

    groundings: Mapping[str, Grounding | None]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRows:
    """Verdicts that are there already."""

    rows: tuple[Scored, ...]
    problems: tuple[Problem, ...]
    aside: int = 0
    """Rows of the benchmark that nobody asked for."""


class Choice:
    """The rows of a file that were asked for, and what is wrong with it."""

    def __init__(self, file: RowFile, tasks: Sequence[Task] | None, others: Set[str]) -> None:
        """`tasks`: None for every row of the file but the `others`, see `Suite`."""
        self.problems = list(file.problems)
        self.aside = 0
        self._file = file
        self._wanted = None if tasks is None else frozenset(task.id for task in tasks)
        self._others = others

    def takes(self, line: Line, row_id: str, *, field: str) -> bool:
        """Whether it is a row of the tasks. `field`: where its id stands."""
        if row_id in self._others:
            self.aside += 1
            return False
        if self._wanted is None or row_id in self._wanted:
            return True
        what = f"{field}: not among the benchmark's rows that can be scored"
        self.problems.append(self._file.problem(line, row_id, what))
        return False


class Suite(Protocol):
    """One benchmark's file formats. Every method raises DataError for a file that is none of its own.

    `others` are the ids of the benchmark's rows beyond `tasks`, where only some of them were chosen, and no task has one
    of them: rows of these ids are counted and left aside, as people hand in whole files.
    """

    @property
    def scheme(self) -> Scheme:
        """What its figures are made of."""
        ...

    def tasks(self, paths: Sequence[Path]) -> TaskRows:
        """Its published rows."""
        ...

    def drawn(self, path: Path, tasks: Sequence[Task], *, others: Set[str] = frozenset()) -> DrawnRows:
        """Pictures of `tasks`; one that is not there is a failure, a row of no task a problem."""
        ...

    def scored(self, path: Path, tasks: Sequence[Task], *, others: Set[str] = frozenset()) -> ScoredRows:
        """Verdicts in the form of the benchmark's own scripts; without `tasks` all of them but those of `others`.

        One of `tasks` that the file lacks is a failed row, a row of no task a problem.
        """
        ...

    def export(self, rows: Sequence[Scored], folder: Path, *, arm: str) -> Path:
        """Write verdicts in the form of the benchmark's own scripts, and return the file."""
        ...
