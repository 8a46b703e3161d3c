"""A run directory: what is where, and what a finished group or step leaves in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from gen_searcher.errors import UserError, disk_trouble
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine, TurnText
from gen_searcher.train.checkpoints import Checkpoints
from gen_searcher.types import Group, Trajectory

Decode = Callable[[Sequence[int]], str]
_CONFIG_DIGEST = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The paths of a run. Only this class knows them."""

    root: Path

    @property
    def images(self) -> Path:
        """The image store."""
        return self.root / "images"

    @property
    def scale(self) -> Path:
        """How many workers the run is to have, when somebody has said so since its start."""
        return self.root / "scale.json"

    @property
    def weights(self) -> Path:
        """The weight board."""
        return self.root / "weights"

    @property
    def tasks(self) -> Path:
        """Task files of the embedded world."""
        return self.root / "tasks"

    @property
    def base_policy(self) -> Path:
        """The small policy before any training, when the run built one."""
        return self.root / "policy" / "base"

    def policy(self, stage: str) -> Path:
        """The policy after `sft` or `grpo`."""
        return self.root / stage / "policy"

    def bench(self, name: str = "") -> Path:
        """Results of the benchmark, made when missing: the run's own, or those of a suite or a sweep by its name."""
        path = self.root / "bench" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def cassette(self) -> Path:
        """Where answers from outside are kept, unless the settings name another folder."""
        return self.root / "cassette"

    @property
    def steps(self) -> Path:
        """One line per GRPO step: what it took and what came of it."""
        return self.root / "grpo" / "steps.jsonl"

    @property
    def identity(self) -> Path:
        """What GRPO started from."""
        return self.root / "grpo" / "identity.json"

    def step_config(self, digest: str) -> Path:
        """The configuration of GRPO steps, by its digest: a run that goes on with other settings keeps both.

        Raises:
            UserError: The digest is none; a stranger's record may hold anything.
        """
        if _CONFIG_DIGEST.fullmatch(digest) is None:
            raise UserError(f"{self.steps}: {digest[:80]!r} is no digest of a configuration")
        return self.root / "grpo" / "configs" / f"{digest}.yaml"

    @property
    def ledger(self) -> Path:
        """Where every task instance of GRPO stands."""
        return self.root / "grpo" / "ledger.sqlite"

    @property
    def leases(self) -> Path:
        """Who writes the run directory."""
        return self.root / "leases"

    @property
    def attempts(self) -> Path:
        """Every attempt of GRPO with its text, in the steps that used them."""
        return self.root / "grpo" / "attempts.jsonl"

    @property
    def metrics(self) -> Path:
        """The numbers of every step of GRPO."""
        return self.root / "grpo" / "metrics.jsonl"

    @property
    def checkpoints(self) -> Checkpoints:
        """GRPO checkpoints."""
        return Checkpoints(self.root / "grpo" / "checkpoints")

    @property
    def sft_checkpoints(self) -> Checkpoints:
        """Those of fine-tuning, while it runs."""
        return Checkpoints(self.root / "sft" / "checkpoints")

    @property
    def sft_metrics(self) -> Path:
        """The numbers of every step of fine-tuning."""
        return self.root / "sft" / "metrics.jsonl"

    @property
    def sft_identity(self) -> Path:
        """What fine-tuning started from."""
        return self.root / "sft" / "identity.json"


class LineFile:
    """JSON lines, flushed one by one: what was written stays written."""

    def __init__(self, path: Path) -> None:
        """Appends; a half line that a killed process left behind is ended first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        cut = path.exists() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        self._path = path
        self._file: FileIO = path.open("ab", buffering=0)
        if cut:
            self._append(b"\n")

    def write(self, row: Mapping[str, object]) -> None:
        """Append one line."""
        self.write_raw(json.dumps(row, ensure_ascii=False).encode())

    def write_raw(self, line: bytes) -> None:
        """Append one line that is JSON already.

        Raises:
            DiskTrouble: It does not fit on the disk; the file is as it was.
        """
        self._append(line + b"\n")

    def _append(self, line: bytes) -> None:
        start = self._file.seek(0, os.SEEK_END)
        try:
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]  # a disk takes what fits, and says that it is full the next time
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._file.seek(start))
            trouble = disk_trouble(error, at=self._path)
            if trouble is None:
                raise
            raise trouble from error

    @property
    def size(self) -> int:
        """Length of the file [bytes]."""
        return self._file.tell()

    def sync(self) -> None:
        """Return once all of it is on the disk, safe from a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def cut_lines(path: Path, *, keep_bytes: int) -> None:
    """Shorten a line file; one that is not there, or is shorter, stays as it is."""
    if path.exists() and path.stat().st_size > keep_bytes:
        with path.open("r+b") as file:
            file.truncate(keep_bytes)
            os.fsync(file.fileno())


def cut_after_step(path: Path, step: int, step_of: Callable[[bytes], int]) -> None:
    """Take away the lines of steps after `step`, of which no checkpoint is left, and a half line at the end."""
    keep_bytes = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if not line.endswith(b"\n") or step_of(line) > step:
            break
        keep_bytes += len(line)
    cut_lines(path, keep_bytes=keep_bytes)


def lines_beyond(path: Path, *, start_bytes: int) -> list[str]:
    """What `cut_lines` would take away."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(start_bytes)
        return file.read().decode(errors="replace").splitlines()


class MetricLog:
    """`metrics.jsonl`: one line per step."""

    def __init__(self, path: Path) -> None:
        """`path` is appended to."""
        self._lines = LineFile(path)
        self._started = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of one step."""
        self._lines.write({"step": step, "time_s": round(time.monotonic() - self._started, 3), **values})

    @property
    def size(self) -> int:
        """Length of the file [bytes]."""
        return self._lines.size

    def sync(self) -> None:
        """See `LineFile.sync`."""
        self._lines.sync()


class TurnReader:
    """Token ids of a trajectory -> text, for records only; nothing is ever trained from it."""

    def __init__(self, decode: Decode) -> None:
        """`decode` turns token ids into text, special tokens included."""
        self._decode = decode

    def __call__(self, trajectory: Trajectory) -> tuple[TurnText, ...]:
        """The text of each turn."""
        return tuple(
            TurnText(prompt=self._decode(turn.prompt_ids), completion=self._decode(turn.completion_ids))
            for turn in trajectory.turns
        )


class AttemptLog:
    """`attempts.jsonl`: one line per member of a finished group, lost ones too."""

    def __init__(self, path: Path, *, read: TurnReader) -> None:
        """`read` decodes the turns for the people who read the file."""
        self._lines = LineFile(path)
        self._read = read

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    @property
    def size(self) -> int:
        """Length of the file [bytes]."""
        return self._lines.size

    def sync(self) -> None:
        """See `LineFile.sync`."""
        self._lines.sync()

    def record(self, group: Group, *, step: int, group_id: str, advantages: Sequence[float | None]) -> None:
        """Write all members at once. `advantages` is in the order of the group's attempts."""
        for attempt, advantage in zip(group.attempts, advantages, strict=True):
            line = AttemptLine(
                step=step,
                group=group_id,
                kind="attempt",
                task=group.task,
                advantage=advantage,
                attempt=attempt,
                lost=None,
                texts=self._read(attempt.trajectory),
            )
            self._lines.write_raw(ATTEMPT_LINE.dump_json(line))
        for lost in group.lost:
            line = AttemptLine(
                step=step, group=group_id, kind="lost", task=group.task, advantage=None, attempt=None, lost=lost
            )
            self._lines.write_raw(ATTEMPT_LINE.dump_json(line))
