"""The checkpoints of one stage: `step-<N>` each, and `latest`, a file that names the last complete one."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from gen_searcher.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A folder of checkpoints. The learner writes them, and `latest`; nobody else knows their names."""

    path: Path

    def folder(self, step: int) -> Path:
        """Where the checkpoint of a step is or will be."""
        return self.path / f"step-{step}"

    def steps(self) -> list[int]:
        """Numbers of the complete ones; a folder gets its name only when it is whole."""
        names = [path.name.removeprefix("step-") for path in self.path.glob("step-*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def latest(self) -> int:
        """Number of the last complete one, 0 when there is none.

        Raises:
            UserError: The pointer file names a checkpoint that is gone.
        """
        pointer = self.path / "latest"
        if not pointer.is_file():
            return 0
        name = pointer.read_text(encoding="utf-8").strip()
        step = next((step for step in self.steps() if name == f"step-{step}"), None)
        if step is None:
            raise UserError(f"{pointer} names {name}, which is not there; write the name of one that is into it")
        return step

    def sweep(self) -> None:
        """Delete what is not whole, and what is beyond `latest`: its steps are trained again."""
        latest = self.latest()
        beyond = [self.folder(step) for step in self.steps() if step > latest]
        for gone in (*self.path.glob("step-*.partial"), *self.path.glob("step-*.old"), *beyond):
            log.warning("%s is not whole, or of a step that is trained again: it is deleted", gone)
            shutil.rmtree(gone)

    def thin(self, keep: int) -> None:
        """Delete all but the last `keep`; a kill leaves none that looks whole and is not."""
        for old in self.steps()[:-keep]:
            gone = self.folder(old).with_suffix(".old")
            self.folder(old).rename(gone)
            shutil.rmtree(gone)

    def remove(self) -> None:
        """Delete all of them; a kill in between leaves those that are whole, or none."""
        if self.path.exists():
            gone = self.path.with_name(self.path.name + ".old")
            self.path.rename(gone)
            shutil.rmtree(gone)
