"""Which role of a run takes how many cores: CPU seconds of its processes, read twice a second while it runs.

    processes below the driver -> role by the name of the actor that they are or belong to -> {role: CPU seconds so far}

What serves all roles (the driver, tool workers, Ray's own servers) is `OTHERS`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from gen_searcher.plan.timeline import Span

ACTORS = {
    "RolloutActor": "engine",
    "LearnerActor": "learner",
    "GeneratorActor": "generator",
    "RewardActor": "reward",
}
OTHERS = "others"
EVERY_S = 0.5


class CoreUse:
    """Writes `{"at_s": seconds since 1970, "cpu_s": {role: seconds}}`, a line per sample. Use as a context manager."""

    def __init__(self, pid: int, path: Path) -> None:
        """Of the process `pid` and all below it."""
        self._root = psutil.Process(pid)
        self._path = path
        self._cpu_s: dict[psutil.Process, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> CoreUse:
        """Sample from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Sample no more."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        with self._path.open("a") as out:
            while not self._stop.wait(EVERY_S):
                try:
                    below = [self._root, *self._root.children(recursive=True)]
                except psutil.Error:
                    continue
                for process in below:
                    self._look(process)
                total: dict[str, float] = {}
                for role, cpu_s in self._cpu_s.values():
                    total[role] = total.get(role, 0.0) + cpu_s
                out.write(json.dumps({"at_s": time.time(), "cpu_s": total}) + "\n")
                out.flush()

    def _look(self, process: psutil.Process) -> None:
        """What has ended keeps what it was last seen with."""
        try:
            times = process.cpu_times()
            self._cpu_s[process] = (self._role(process), times.user + times.system)
        except psutil.Error:
            return

    def _role(self, process: psutil.Process) -> str:
        for one in (process, *process.parents()):
            name = (one.cmdline() or [""])[0]
            for actor, role in ACTORS.items():
                if actor in name:
                    return role
            if one == self._root:
                break
        return OTHERS


def cores_used(path: Path, busy: Mapping[str, Sequence[Span]], *, start_s: float, end_s: float) -> dict[str, float]:
    """Cores that each role takes while it is busy, and `OTHERS` all the time, from `start_s` to `end_s`."""
    whole, took = _took(path, start_s=start_s, end_s=end_s)
    used = {
        role: took.get(role, 0.0) / busy_s
        for role, spans in busy.items()
        if (busy_s := sum(length_s(span, whole) for span in spans)) > 0.0
    }
    return {**used, OTHERS: took.get(OTHERS, 0.0) / (whole.end_s - whole.start_s)}


def cores_busy(path: Path, *, start_s: float, end_s: float) -> float:
    """Cores that all of it took together, on the average."""
    whole, took = _took(path, start_s=start_s, end_s=end_s)
    return sum(took.values()) / (whole.end_s - whole.start_s)


def _took(path: Path, *, start_s: float, end_s: float) -> tuple[Span, dict[str, float]]:
    """From the first to the last sample between the two: CPU seconds of each role."""
    samples = [
        sample for line in path.read_text().splitlines() if start_s <= (sample := json.loads(line))["at_s"] <= end_s
    ]
    first, last = samples[0], samples[-1]
    took = {role: cpu_s - first["cpu_s"].get(role, 0.0) for role, cpu_s in last["cpu_s"].items()}
    return Span(start_s=first["at_s"], end_s=last["at_s"]), took


def length_s(span: Span, within: Span) -> float:
    """Of the part of it that lies there."""
    return max(0.0, min(span.end_s, within.end_s) - max(span.start_s, within.start_s))
