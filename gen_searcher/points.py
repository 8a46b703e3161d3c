"""Named points that a run passes, for tests of what it survives: a run passes them unheard unless somebody listens.

`cluster.fault_plan` names a listener (`gen_searcher.testing.fault_plan.FaultPlan`) for all processes of a run.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol


class Point(StrEnum):
    """Moments between two things that must both happen, or neither."""

    ROLLOUT_FINISHED = "rollout.finished"
    """A rollout worker has a trajectory that nobody else knows of."""
    LEARNER_BACKWARD = "learner.backward"
    """A learner rank has the gradient of a step; no weight has changed."""
    LEARNER_STEPPED = "learner.stepped"
    """A learner rank has changed the weights; they are in its memory alone."""
    STEP_BOOKED = "step.booked"
    """The ledger has a step whose weights are in no checkpoint."""
    CHECKPOINT_WRITTEN = "checkpoint.written"
    """A checkpoint is whole and has not got its name."""
    CHECKPOINT_RENAMED = "checkpoint.renamed"
    """It has its name, and `latest` names the one before it."""
    CHECKPOINT_POINTED = "checkpoint.pointed"
    """`latest` names it; the ledger does not know of it."""


class Listener(Protocol):
    """Hears of every point that its process passes; what it raises, the process raises there."""

    def __call__(self, point: Point) -> None:
        """The point is passed now."""
        ...


_listeners: list[Listener] = []


def passed(point: Point) -> None:
    """Say that this process is there."""
    for listener in _listeners:
        listener(point)


def listen(listener: Listener) -> None:
    """Let it hear of this process's points from now on."""
    _listeners.append(listener)


@contextmanager
def heard_by(listener: Listener | None) -> Generator[None]:
    """Let it hear of the points within the block; None: nobody."""
    if listener is None:
        yield
        return
    listen(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
