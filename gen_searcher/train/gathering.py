"""Groups of one step: started -> finished -> what they lost, counted while the step gathers them."""

from __future__ import annotations

from dataclasses import dataclass, field

from gen_searcher.train.outage import Losses
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A group that was started, perhaps not for the first time."""

    version: int
    visit: Visit
    earlier: Group | None = None

    @property
    def order(self) -> tuple[int, int]:
        """Of the start: the oldest first."""
        return (self.version, self.visit.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A group that has ended."""

    started: Started
    group: Group


@dataclass(slots=True, kw_only=True)
class Gathering:
    """What one step has seen of the groups that ended while it was waited for."""

    dropped: list[Finished] = field(default_factory=list[Finished])
    latest: dict[int, Group] = field(default_factory=dict[int, Group])
    """By visit."""
    members: int = 0
    """Attempts of these groups, scored or given up."""
    given_up: int = 0

    def saw(self, visit: int, group: Group) -> None:
        """The group of the visit ended, perhaps not for the first time."""
        self.forget(visit)
        self.latest[visit] = group
        self._count(group, 1)

    def forget(self, visit: int) -> None:
        """What the group of the visit lost counts no more."""
        if visit in self.latest:
            self._count(self.latest.pop(visit), -1)

    def _count(self, group: Group, by: int) -> None:
        given_up = len(group.given_up)
        self.members += by * (len(group.attempts) + given_up)
        self.given_up += by * given_up

    @property
    def in_vain(self) -> list[Finished]:
        """What counts against `max_dropped`."""
        return [finished for finished in self.dropped if not finished.started.visit.set_aside]

    @property
    def losses(self) -> Losses:
        """What these groups lost and did not make up for."""
        return Losses.of(list(self.latest.values()))
