"""Faults at named points of a run, from a file: point x time x kind.

    - {point: learner.backward, time: 2, kind: kill}
    - {point: rollout.finished, time: 3, kind: delay, delay_s: 5}

`cluster.fault_plan={_target_: gen_searcher.testing.fault_plan.FaultPlan, path: /runs/plan.yaml}` lets every process of a run
follow it. A point's times are counted over all processes and all starts of the run, in a journal beside the plan, so that
the same command run again does not meet the same fault again.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, TypeAdapter, model_validator

from gen_searcher.config.base import Config
from gen_searcher.points import Point


class PlantedFault(Exception):
    """What a fault of kind `raise` raises."""


class Kind(StrEnum):
    """What happens."""

    KILL = "kill"
    """SIGKILL: the process ends here and now."""
    RAISE = "raise"
    """PlantedFault, like a bug."""
    HANG = "hang"
    """The thread stands still for ever, and an event loop with it."""
    DELAY = "delay"
    """The thread stands still for `delay_s`."""


class Fault(Config):
    """One row of a plan."""

    point: Point
    """Where."""
    time: int = Field(ge=1)
    """Which time that the run passes the point, from 1."""
    kind: Kind
    """What happens."""
    delay_s: float = Field(default=0.0, ge=0.0)
    """How long a `delay` takes [s]."""

    @model_validator(mode="after")
    def _delays(self) -> Self:
        if (self.kind is Kind.DELAY) != (self.delay_s > 0.0):
            raise ValueError("a delay, and nothing else, has a `delay_s`")
        return self


_PLAN = TypeAdapter(tuple[Fault, ...])


class FaultPlan:
    """A `Listener` that does what the file says."""

    def __init__(self, path: Path) -> None:
        """Read the plan. Raises pydantic's ValidationError for a point or kind that there is not."""
        self._faults = _PLAN.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
        self._journal = journal(path)

    def __call__(self, point: Point) -> None:
        """Count, then do what is planned for this time."""
        now = self._count(point)
        for fault in self._faults:
            if fault.point is point and fault.time == now:
                _strike(fault)

    def _count(self, point: Point) -> int:
        """Which time this is; one process at a time."""
        with self._journal.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.read().split()
            file.write(f"{point}\n")
        return before.count(point) + 1


def journal(plan: Path) -> Path:
    """The file beside a plan that holds every point passed, a line each."""
    return plan.with_suffix(".passed")


def times_passed(plan: Path) -> Counter[Point]:
    """How often each point was passed so far."""
    path = journal(plan)
    return Counter(map(Point, path.read_text(encoding="utf-8").split() if path.exists() else ()))


def _strike(fault: Fault) -> None:
    match fault.kind:
        case Kind.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Kind.RAISE:
            raise PlantedFault(f"planted at {fault.point}, time {fault.time}")
        case Kind.HANG:
            threading.Event().wait()
        case Kind.DELAY:
            time.sleep(fault.delay_s)
