"""A job that is submitted from outside and watched by what it writes into its run directory."""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tests.e2e.ray_head import Head

log = logging.getLogger(__name__)

JOB_S = 3000.0

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One that runs."""

    run_dir: Path
    result: Future[Done]

    def rows(self) -> list[dict[str, float]]:
        path = self.run_dir / "grpo" / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Return once it holds; an error when the job ends before."""
        began_s = time.monotonic()
        while not holds():
            if self.result.done():
                done = self.result.result()
                raise AssertionError(f"the job ended before {what}:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
            time.sleep(0.2)
        log.info("%s: step %d, after %.1f s", what, len(self.rows()), time.monotonic() - began_s)

    def until_a_step_with(self, workers: int, what: str) -> None:
        """A step that begins from here on ends with so many rollout workers in use."""
        now = len(self.rows())
        self.until(
            lambda: any(row["cluster/rollout_workers"] == workers for row in self.rows()[now + 1 :]),
            f"{what}, {workers} workers in use",
        )


@contextmanager
def submitted(head: Head, run_dir: Path, *settings: str) -> Iterator[Job]:
    """`launch/ray_job.sh grpo` in the background; after an error nobody waits for it, it ends with its cluster."""
    background = ThreadPoolExecutor(max_workers=1)
    try:
        words = ("grpo", *settings, f"run_dir={run_dir}")
        yield Job(run_dir=run_dir, result=background.submit(head.submit_by_script, *words, timeout_s=JOB_S))
    finally:
        background.shutdown(wait=False)


def last_object(done: Done) -> dict[str, object]:
    """The last line of the job itself, which the words of `ray job submit` follow."""
    objects = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return cast("dict[str, object]", json.loads(objects[-1]))
