"""Groups in flight: tasks -> run_group (many at once) -> the groups of one step.

A group holds a slot from its start until the step that trained on it is published. There are
`groups_per_step * (max_staleness + 1)` slots, so with `max_staleness=0` nothing runs while the learner works
(synchronous, on policy) and with k a group lags at most k publishes behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from gen_searcher.errors import TooManyLost
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Group

GroupRunner = Callable[[Visit, int], Awaitable[Group]]
"""(visit, version) -> group; it may come at once, when an earlier start of the run has finished it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """When a step has what it needs."""

    groups_per_step: int
    max_staleness: int
    """Most publishes between a group's start and the step that trains on it; 0 is synchronous."""
    max_dropped: int
    """Groups without signal after which a step takes what it has, or stops if it has nothing."""
    max_lost_frac: float
    """Share of a step's attempts lost in all their tries above which the run stops: a little lost is data, more is an
    outage. An attempt that a later try made up for does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What `take` hands over."""

    groups: tuple[Group, ...]
    """To learn from, in the order in which they were started."""
    dropped: tuple[Group, ...]
    """Finished since the last step and with nothing to teach."""


class GroupStream:
    """Keeps the slots full and hands out the groups of each step. Use as an async context manager."""

    def __init__(
        self,
        visits: Iterator[Visit],
        run: GroupRunner,
        *,
        rules: StreamRules,
        keep: Callable[[Group], bool],
        version: int = 0,
    ) -> None:
        """`keep` says which groups a step may learn from."""
        self._visits = visits
        self._run = run
        self._rules = rules
        self._keep = keep
        self._version = version
        self._slots = rules.groups_per_step * (rules.max_staleness + 1)
        self._running: dict[asyncio.Task[Group], tuple[int, int]] = {}
        self._ready: list[tuple[int, int, Group]] = []
        self._in_training = 0

    async def __aenter__(self) -> GroupStream:
        """Nothing starts before the first `take`."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still runs."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def take(self) -> Step:
        """Wait for the groups of the next step.

        Waits for enough groups with signal, and for every group that would be too old for a later step.
        """
        dropped: list[Group] = []
        members = given_up = 0
        while True:
            self._fill(dropped=len(dropped))
            if self._is_complete() or not self._running:
                break
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for finished in sorted(done, key=lambda task: self._running[task]):
                version, visit = self._running.pop(finished)
                group = finished.result()
                members += len(group.attempts) + len(group.given_up)
                given_up += len(group.given_up)
                if self._keep(group):
                    self._ready.append((min(version, group.version), visit, group))
                else:
                    dropped.append(group)
            self._check_lost(members, given_up)
        self._ready.sort(key=lambda entry: entry[:2])
        taken = self._ready[: self._rules.groups_per_step]
        if not taken:
            raise TooManyLost(
                f"{len(dropped)} groups in a row had nothing to teach (equal rewards, or all tries lost)", "stream"
            )
        self._ready = self._ready[self._rules.groups_per_step :]
        self._in_training = len(taken)
        return Step(groups=tuple(group for _, _, group in taken), dropped=tuple(dropped))

    def published(self) -> None:
        """The step is published: its slots come back."""
        self._version += 1
        self._in_training = 0
        if self._rules.max_staleness:
            self._fill()

    def _fill(self, *, dropped: int = 0) -> None:
        """Start groups until all slots are taken, or so many that `max_dropped` of them may be in vain.

        The second bound counts what was started, not what has ended, so that it is the same whatever ends first.
        """
        most = min(self._slots, self._slots + self._rules.max_dropped - 1 - dropped)
        while len(self._running) + len(self._ready) + self._in_training < most:
            visit = next(self._visits)
            running = asyncio.ensure_future(self._run(visit, self._version))
            version = self._version if visit.version is None else min(visit.version, self._version)
            self._running[running] = (version, visit.number)

    def _is_complete(self) -> bool:
        oldest_allowed = self._version - self._rules.max_staleness
        must_wait = any(version <= oldest_allowed for version, _ in self._running.values())
        return len(self._ready) >= self._rules.groups_per_step and not must_wait

    def _check_lost(self, members: int, given_up: int) -> None:
        if members >= self._rules.groups_per_step and given_up > self._rules.max_lost_frac * members:
            raise TooManyLost(
                f"{given_up} of {members} attempts of this step were lost in all their tries; the limit is "
                f"{self._rules.max_lost_frac:.0%}. The reasons are in attempts.jsonl",
                "stream",
            )
