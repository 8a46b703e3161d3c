"""A run's record -> its steps as they were trained: which groups, in which order, and from which state.

steps.jsonl -> StepLine -> Route;  attempts.jsonl, StepLine -> RecordedStep
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError

from gen_searcher.errors import UserError
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.metrics.report.read import jsonl
from gen_searcher.train.run import RunFolder
from gen_searcher.train.step_log import STEP_LINE, StepLine, TakenGroup, TakenMember, attempt_digest
from gen_searcher.types import Attempt, Group, Task

START = 0
"""Number of the state before the first step: the policy that the stage started from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMember:
    """One attempt as `attempts.jsonl` has it."""

    attempt: Attempt
    advantage: float | None
    trained_sha256: str
    """Digest of the attempt that the step trained on."""
    line: bytes
    """The line itself, without its end."""

    @property
    def sha256(self) -> str:
        """Digest of what the record holds now."""
        return attempt_digest(self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedGroup:
    """One group of a step."""

    task: Task
    version: int
    members: tuple[RecordedMember, ...]

    def as_trained(self) -> Group:
        """The group as the record has it."""
        return Group(task=self.task, attempts=tuple(each.attempt for each in self.members), version=self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """What one step took, and what came of it."""

    line: StepLine
    groups: tuple[RecordedGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How to come to a step: a state that is still there, and the steps from there on."""

    state: int
    """Number of a checkpoint, or `START`."""
    steps: tuple[int, ...]
    """The last of them is the one that was asked for."""


def step_lines(folder: RunFolder) -> Mapping[int, StepLine]:
    """The steps that led to the run's last weights; those that a resumed run made anew count once, as made last."""
    found: dict[int, StepLine] = {}
    for parsed in jsonl(folder.steps, STEP_LINE, notes=[]):
        line = parsed.value
        found = {step: kept for step, kept in found.items() if step < line.step}
        found[line.step] = line
    return found


def states(folder: RunFolder) -> list[int]:
    """Numbers of the states that steps can be replayed from."""
    kept = [step for step in folder.checkpoints.steps() if step <= folder.checkpoints.latest()]
    has_start = (folder.policy("sft") / "config.json").is_file()
    return [START, *kept] if has_start else []


def route_to(step: int, *, kept: Collection[int], recorded: Collection[int]) -> Route:
    """The shortest way.

    Args:
        step: The step to replay.
        kept: `states` of the run.
        recorded: Steps with a line.

    Raises:
        UserError: There is none; names the steps that can be replayed.
    """
    found = _route(step, kept, recorded)
    if found is None:
        possible = [each for each in sorted(recorded) if _route(each, kept, recorded) is not None]
        there_is = (
            f"of this run: {_ranges(possible)}" if possible else "none of this run, it has no record of its steps"
        )
        raise UserError(
            f"step {step} cannot be replayed: that takes a checkpoint before it and the record of every step in between. "
            f"Steps that can be replayed: {there_is}. A larger grpo.keep_checkpoints keeps more of them"
        )
    return found


def _route(step: int, kept: Collection[int], recorded: Collection[int]) -> Route | None:
    for state in sorted((state for state in kept if state < step), reverse=True):
        steps = tuple(range(state + 1, step + 1))
        if set(steps) <= set(recorded):
            return Route(state=state, steps=steps)
    return None


def _ranges(steps: Sequence[int]) -> str:
    """`1-4, 7`."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seeded:
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The little of a line that finding it needs."""

    task: _Named
    attempt: _Seeded | None


_HEAD = TypeAdapter(_Head)


class Attempts:
    """`attempts.jsonl`, by task and seed."""

    def __init__(self, path: Path) -> None:
        """Reads the file once, for where its lines begin."""
        self._path = path
        self._offsets: dict[tuple[str, int], list[int]] = {}
        self._notes: list[str] = []
        for parsed in jsonl(path, _HEAD, notes=self._notes):
            if parsed.value.attempt is not None:
                key = (parsed.value.task.id, parsed.value.attempt.seed)
                self._offsets.setdefault(key, []).append(parsed.offset)

    def step(self, line: StepLine) -> RecordedStep:
        """The groups of a step. Raises UserError when one of its attempts is not on record."""
        with self._path.open("rb") as file:
            return RecordedStep(line=line, groups=tuple(self._group(file, line.step, taken) for taken in line.groups))

    def _group(self, file: BinaryIO, step: int, taken: TakenGroup) -> RecordedGroup:
        found = [self._member(file, step, taken.task_id, member) for member in taken.members]
        members = tuple(
            RecordedMember(
                attempt=attempt,
                advantage=line.advantage,
                trained_sha256=member.sha256,
                line=ATTEMPT_LINE.dump_json(line),
            )
            for line, member in zip(found, taken.members, strict=True)
            if (attempt := line.attempt) is not None
        )
        return RecordedGroup(task=found[0].task, version=taken.version, members=members)

    def _member(self, file: BinaryIO, step: int, task_id: str, member: TakenMember) -> AttemptLine:
        """The line that was trained on; if none is that any more, the last one of the same task and seed."""
        last: AttemptLine | None = None
        for offset in self._offsets.get((task_id, member.seed), []):
            file.seek(offset)
            try:
                last = ATTEMPT_LINE.validate_json(file.readline())
            except ValidationError as error:
                raise UserError(f"{self._path}: the line at byte {offset} cannot be read: {error}") from error
            if last.attempt is not None and attempt_digest(last.attempt) == member.sha256:
                return last
        if last is None:
            notes = "".join(f" ({note})" for note in self._notes)
            raise UserError(
                f"{self._path}: no attempt at task {task_id} of seed {member.seed}, which step {step} trained on; "
                f"the record is not whole{notes}"
            )
        return last
