"""The paper's comparisons over several seeds: benched run directories -> rungs with intervals, paired differences, a plot.

A rung is one kind of policy (no search, after fine-tuning, trained without the text reward, ...) measured on the same
tasks in the run of each seed. Its K is the mean over seeds and tasks, its interval is of other seeds *and* other tasks
(`bootstrap.nested_resamples`); a difference draws the same seeds and tasks for both of its sides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gen_searcher.bench.bootstrap import Interval, interval, nested_resamples
from gen_searcher.bench.spent import PAID_TO, PARTS, Part, per_attempt, spent
from gen_searcher.bench.sums import Sums
from gen_searcher.bench.table import ArmRow
from gen_searcher.errors import DataError
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.types import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Where the attempts of a rung lie in the runs of one seed."""

    label: str
    variant: str
    """Run directory, e.g. `full`."""
    arm: str
    bench: str = ""
    """Folder below `bench/`."""

    def file(self, seed: Path) -> Path:
        """Its attempts in the folder of a seed."""
        return seed / self.variant / "bench" / self.bench / f"attempts-{self.arm}.jsonl"

    def free(self, seed: Path) -> Set[Part]:
        """The parts that cost nothing there, as its bench wrote into the table beside the attempts."""
        table = self.file(seed).with_name("table.json")
        if not table.is_file():
            return frozenset()
        rows: Sequence[ArmRow] = json.loads(table.read_bytes())["arms"]
        return {part for row in rows if row["arm"] == self.arm for part in PARTS if row["usd_of"][PAID_TO[part]] == 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A measured cell."""

    cell: Cell
    k: Interval
    by_seed: tuple[float, ...]
    tasks: int
    """Of each seed that every seed has an attempt at."""
    lost: int
    """Tries over all seeds."""
    attempt_s: float | None
    """Median seconds of an attempt, see `bench.spent`; None when they were not recorded."""
    attempt_usd: float | None
    """None when nobody wrote down what was paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """K of one rung less K of another, on the seeds and tasks that both have."""

    better: str
    baseline: str
    k: Interval
    seeds: int
    tasks: int


LADDER = (
    Cell(label="no search", variant="full", arm="no-search"),
    Cell(label="untrained", variant="full", arm="untrained"),
    Cell(label="SFT", variant="full", arm="sft"),
    Cell(label="SFT + GRPO", variant="full", arm="sft+grpo"),
    Cell(label="without text reward", variant="no_text", arm="sft+grpo"),
    Cell(label="without image reward", variant="no_image", arm="sft+grpo"),
)
"""The paper's table of ablations."""
LADDER_PAIRS = (
    ("untrained", "no search"),
    ("SFT", "untrained"),
    ("SFT + GRPO", "SFT"),
    ("SFT + GRPO", "without text reward"),
    ("SFT + GRPO", "without image reward"),
    ("SFT + GRPO", "no search"),
)
ALPHA = tuple(
    Cell(label=f"alpha {share:g}", variant=variant, arm="sft+grpo")
    for share, variant in (
        (0.0, "no_text"),
        (0.25, "alpha_0.25"),
        (0.5, "full"),
        (0.75, "alpha_0.75"),
        (1.0, "no_image"),
    )
)
"""Share of the text reward, from none to all."""


def transfer(bench: str) -> tuple[Cell, ...]:
    """The same policies on the generator that they were trained with and, in the folder `bench`, on another one."""
    arms = (("no search", "no-search"), ("SFT", "sft"), ("SFT + GRPO", "sft+grpo"))
    return tuple(
        Cell(label=f"{label}, {place or 'own generator'}", variant="full", arm=arm, bench=place)
        for place in ("", bench)
        for label, arm in arms
    )


class Ladder:
    """Rungs over the seeds that have them."""

    def __init__(self, seeds: Sequence[Path], *, seed: int) -> None:
        """`seeds` are the folders of the seeds; `seed` draws the resamples."""
        self._folders = tuple(seeds)
        self._seed = seed
        self._read: dict[tuple[Cell, Path], Mapping[str, Group]] = {}

    def has(self, cell: Cell) -> bool:
        """Some seed has been benched there."""
        return bool(self._seeds(cell))

    def rung(self, cell: Cell) -> Rung:
        """Measure it. Raises DataError when its seeds have no task in common."""
        seeds = self._seeds(cell)
        runs = [self._groups(cell, seed) for seed in seeds]
        tasks = _shared(runs, of=cell.label)
        sums = _sums(runs, tasks)
        draws = nested_resamples(len(runs), len(tasks), seed=self._seed)
        everything = np.arange(len(runs) * len(tasks), dtype=np.intp)[None]
        by_seed = everything.reshape(len(runs), len(tasks))
        free = frozenset(PARTS).intersection(*(cell.free(seed) for seed in seeds))
        attempts = [attempt for run in runs for task in tasks for attempt in run[task].attempts]
        took = per_attempt([spent(attempt) for attempt in attempts], free=free)
        return Rung(
            cell=cell,
            k=interval(float(sums.k_scores(everything)[0]), sums.k_scores(draws)),
            by_seed=tuple(sums.k_scores(by_seed).tolist()),
            tasks=len(tasks),
            lost=sum(len(group.lost) for run in runs for group in run.values()),
            attempt_s=took.seconds,
            attempt_usd=took.usd,
        )

    def difference(self, better: Cell, baseline: Cell) -> Difference:
        """Measure it on the seeds that have both. Raises DataError when there is none, or no task in common."""
        seeds = [seed for seed in self._seeds(better) if seed in self._seeds(baseline)]
        ours, theirs = ([self._groups(cell, seed) for seed in seeds] for cell in (better, baseline))
        tasks = _shared([*ours, *theirs], of=f"{better.label} and {baseline.label}")
        a, b = _sums(ours, tasks), _sums(theirs, tasks)
        draws = nested_resamples(len(seeds), len(tasks), seed=self._seed)
        everything = np.arange(len(seeds) * len(tasks), dtype=np.intp)[None]
        value = float((a.k_scores(everything) - b.k_scores(everything))[0])
        around = interval(value, a.k_scores(draws) - b.k_scores(draws))
        return Difference(better=better.label, baseline=baseline.label, k=around, seeds=len(seeds), tasks=len(tasks))

    def _seeds(self, cell: Cell) -> list[Path]:
        """A bench that has just begun has an empty file."""
        files = {seed: cell.file(seed) for seed in self._folders}
        return [seed for seed, file in files.items() if file.is_file() and file.stat().st_size > 0]

    def _groups(self, cell: Cell, seed: Path) -> Mapping[str, Group]:
        if (cell, seed) not in self._read:
            self._read[cell, seed] = _read(cell.file(seed))
        return self._read[cell, seed]


def _shared(runs: Sequence[Mapping[str, Group]], *, of: str) -> list[str]:
    """Tasks at which every run has an attempt, in the order of the first run."""
    found = [task for task, group in runs[0].items() if group.attempts] if runs else []
    found = [task for task in found if all(task in run and run[task].attempts for run in runs)]
    if not found:
        raise DataError(f"the runs of {of} have no task in common; bench them on the same tasks")
    return found


def _sums(runs: Sequence[Mapping[str, Group]], tasks: Sequence[str]) -> Sums:
    return Sums.of([run[task] for run in runs for task in tasks])


def _read(file: Path) -> Mapping[str, Group]:
    """Attempts by task, as the bench wrote them. Raises DataError for a line that is none."""
    lines: dict[str, list[AttemptLine]] = {}
    with file.open("rb") as opened:
        for number, text in enumerate(opened, start=1):
            try:
                line = ATTEMPT_LINE.validate_json(text)
            except ValueError as error:
                raise DataError(f"{file}, line {number} is no attempt; bench this run again ({error})") from error
            lines.setdefault(line.task.id, []).append(line)
    return {
        task: Group(
            task=found[0].task,
            attempts=tuple(line.attempt for line in found if line.attempt is not None),
            lost=tuple(line.lost for line in found if line.lost is not None),
        )
        for task, found in lines.items()
    }
