"""A run with attempts by Ray actors, `tests.faults.ray_driver`, in a process of its own: started, watched, waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

RUN_S = 400.0
ROOT = Path(__file__).parents[2]


class Driver:
    """A run in a process of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str], **settings: object) -> None:
        """`settings` are those of `tests.faults.ray_driver`, but for the run directory."""
        self.root = folder / "run"
        self.log = folder / "log"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.ray_driver", json.dumps({"root": str(self.root), **settings})],
                env={**environment, "PYTHONPATH": str(ROOT)},  # of the workers too, for what a plug of a test names
                stdout=out,
                stderr=out,
            )

    def wait_for_step(self, step: int) -> None:
        metrics = self.root / "grpo" / "metrics.jsonl"
        self.wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= step)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Of a run that goes on."""
        deadline = time.monotonic() + RUN_S
        while not is_so():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.1)

    def exit_code(self, *, within_s: float = RUN_S) -> int:
        try:
            return self.process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.said) from None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")
