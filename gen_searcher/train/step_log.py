"""What a step trained on, in which order, and what came of it: what a replay needs beside the attempts themselves.

Step, StepReport -> StepLine -> `steps.jsonl`, one line per step
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from pydantic.main import IncEx

from gen_searcher.train.run import LineFile, RunFolder, cut_after_step
from gen_searcher.types import Attempt, Group, Judgement, StepReport

_ATTEMPT = TypeAdapter(Attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenMember:
    """One attempt, as it was when it was trained on."""

    seed: int
    """With the task it names the attempt's line in `attempts.jsonl`."""
    sha256: str
    """`attempt_digest` of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenGroup:
    """One group of a step."""

    task_id: str
    version: int
    """Policy version that was current when the group was started."""
    members: tuple[TakenMember, ...]
    """In the order of the group's attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One line of `steps.jsonl`."""

    step: int
    groups: tuple[TakenGroup, ...]
    """In the order in which they were packed."""
    loss: float
    grad_norm: float
    """Before clipping."""
    arithmetic: str
    """As in `StepReport`."""
    config: str
    """Digest of the settings, which lie beside it (`RunFolder.step_config`)."""


STEP_LINE = TypeAdapter(StepLine)
"""Floats are written so that they read back as the same bits."""


def config_digest(config: str) -> str:
    """What a resolved configuration is kept under."""
    return hashlib.sha256(config.encode()).hexdigest()[:16]


class StepLog:
    """Writes `steps.jsonl`."""

    def __init__(self, folder: RunFolder, *, config: str) -> None:
        """`config` is the resolved configuration as text; it is kept under its digest."""
        self._config = config_digest(config)
        kept = folder.step_config(self._config)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(config, encoding="utf-8")
        self._lines = LineFile(folder.steps)

    def sync(self) -> None:
        """See `LineFile.sync`."""
        self._lines.sync()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def record(self, step: int, groups: Sequence[Group], report: StepReport) -> None:
        """Write down one step."""
        line = StepLine(
            step=step,
            groups=tuple(taken(group) for group in groups),
            loss=report.loss,
            grad_norm=report.grad_norm,
            arithmetic=report.arithmetic,
            config=self._config,
        )
        self._lines.write_raw(STEP_LINE.dump_json(line))


def cut_steps(folder: RunFolder, step: int) -> None:
    """See `cut_after_step`."""
    cut_after_step(folder.steps, step, lambda line: STEP_LINE.validate_json(line).step)


def taken(group: Group) -> TakenGroup:
    """What is kept of a group."""
    members = tuple(TakenMember(seed=each.seed, sha256=attempt_digest(each)) for each in group.attempts)
    return TakenGroup(task_id=group.task.id, version=group.version, members=members)


def attempt_digest(attempt: Attempt) -> str:
    """Hex digest of everything in an attempt."""
    return hashlib.sha256(_ATTEMPT.dump_json(attempt, exclude=_unsaid(attempt))).hexdigest()


def _unsaid(attempt: Attempt) -> IncEx:
    """Fields that earlier versions did not have, where they say nothing: the digests of their runs stay what they were."""
    quiet = {
        index: {"result": {"retries"}}
        for index, turn in enumerate(attempt.trajectory.turns)
        if turn.result is not None and turn.result.retries == 0
    }
    return {
        "trajectory": {"turns": quiet},
        "judgements": _wordless(attempt.judgements),
        "shadow": _wordless(attempt.shadow),
    }


def _wordless(judgements: Sequence[Judgement]) -> IncEx:
    return {index: {"reply"} for index, one in enumerate(judgements) if not one.reply}
