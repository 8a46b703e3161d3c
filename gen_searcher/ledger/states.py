"""The states of a task instance, and what may follow what.

An instance is one visit of the data order to a task; visits are numbered from 0 without a gap.

    (new) -> queued -> running -> scored -> trained
               ^          |        | | ^       |
               |          |        | | +-------+  its step was lost with the process, its attempts are kept
               |          |        | |  +------+
               |          |        | v  v      |
               |          |        | rejected  |
               +----------+--------+-----------+  nothing is kept of it, or what is kept is not a whole group

Arrows to the left are taken only when a run is resumed, but for one: in an outage a scored instance runs again, for the
members that it lost. Every arrow is one transaction (a step's groups take theirs
together), and after each one: visits begun = queued + running + scored + trained + rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a task instance stands."""

    QUEUED = "queued"
    """Begun before and to be run again, with the seeds it had; or about to be run for the first time."""
    RUNNING = "running"
    """Its attempts are under way in the process that holds the lease."""
    SCORED = "scored"
    """All its attempts have ended and are on disk; no step has used it."""
    TRAINED = "trained"
    """A published step learned from it."""
    REJECTED = "rejected"
    """A published step passed it over, for the reason in its row."""


LATE = "enough other groups were complete"
"""Reason of an instance that a step passed over without waiting for it."""
NOTHING_TO_TEACH = "nothing to teach"
"""Reason of one whose attempts were all worth the same. A scored instance has it when the run ended because of such ones."""

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING}),
    State.RUNNING: frozenset({State.SCORED, State.QUEUED}),
    State.SCORED: frozenset({State.TRAINED, State.REJECTED, State.RUNNING, State.QUEUED}),
    State.TRAINED: frozenset({State.SCORED, State.QUEUED}),
    State.REJECTED: frozenset({State.SCORED, State.QUEUED}),
}
"""State -> what may follow. A new instance is queued. The database itself refuses everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many instances stand where."""

    begun: int
    """Visits ever begun: the data cursor."""
    counts: Mapping[State, int]

    @property
    def is_conserved(self) -> bool:
        """Every instance stands somewhere, and only once."""
        return self.begun == sum(self.counts.values())

    def __str__(self) -> str:
        """`12 begun = 0 queued + 4 running + ...`."""
        parts = " + ".join(f"{self.counts[state]} {state}" for state in State)
        return f"{self.begun} begun = {parts}"
