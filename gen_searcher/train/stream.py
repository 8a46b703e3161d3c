"""Groups in flight: tasks -> run_group (many at once) -> the groups of one step.

A group holds a slot from its start until the step that trained on it is published. There are
`groups_per_step * (max_staleness + 1)` slots, so with `max_staleness=0` nothing runs while the learner works
(synchronous, on policy) and with k a group lags at most k publishes behind.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType

from gen_searcher.errors import TooManyLost
from gen_searcher.train.arrivals import Arrivals
from gen_searcher.train.room import Room
from gen_searcher.types import Group, Task

GroupRunner = Callable[[Task, int, int], Coroutine[object, object, Group]]
"""(task, visit, version) -> group; `visit` counts every group ever started, so it seeds and orders them."""


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
        tasks: Iterator[Task],
        run: GroupRunner,
        *,
        rules: StreamRules,
        keep: Callable[[Group], bool],
        on_group: Callable[[Group], None],
        room: Room | None = None,
        version: int = 0,
    ) -> None:
        """`on_group` sees every finished group at once, dropped ones too.

        A group starts when the `room` has space for it, and is as old as that; None: as soon as there is a slot.
        """
        self._tasks = tasks
        self._run = run
        self._rules = rules
        self._keep = keep
        self._on_group = on_group
        self._version = version
        self._visit = 0
        self._slots = rules.groups_per_step * (rules.max_staleness + 1)
        self._running: Arrivals[tuple[int, int], Group] = Arrivals()
        self._versions: Counter[int] = Counter()
        self._ready: list[tuple[int, int, Group]] = []
        self._in_training = 0
        self._may_start = False
        self._room = Room(attempts=None, group_size=1) if room is None else room
        self._room.watch(self._fill)

    async def __aenter__(self) -> GroupStream:
        """Nothing starts before the first `take`."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still runs."""
        self._may_start = False
        await self._running.cancel()

    async def take(self) -> Step:
        """Wait for the groups of the next step.

        Waits for enough groups with signal, and for every group that would be too old for a later step.
        """
        dropped: list[Group] = []
        members = given_up = 0
        while True:
            self._may_start = len(dropped) < self._rules.max_dropped
            self._fill()
            if self._is_complete() or not self._running:
                break
            for (version, visit), group in sorted(await self._running.some(), key=lambda arrival: arrival[0]):
                self._versions -= Counter({version: 1})  # which also forgets a version at 0
                self._on_group(group)
                members += len(group.attempts) + len(group.given_up)
                given_up += len(group.given_up)
                if self._keep(group):
                    self._ready.append((version, visit, group))
                else:
                    dropped.append(group)
            self._check_lost(members, given_up)
        self._may_start = self._rules.max_staleness > 0
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
        self._fill()

    def _fill(self) -> None:
        """Start groups while there are slots and, for a first member, room."""
        while self._may_start and self._has_slot and self._room.has_space:
            task = next(self._tasks)
            self._start(self._run(task, self._visit, self._version))
            self._visit += 1

    def _start(self, work: Coroutine[object, object, Group]) -> None:
        places = self._room.enter()
        running = asyncio.get_running_loop().create_task(work, context=places.context())
        running.add_done_callback(lambda _: places.close())
        self._running.add((self._version, self._visit), running)
        self._versions[self._version] += 1

    @property
    def _has_slot(self) -> bool:
        return len(self._running) + len(self._ready) + self._in_training < self._slots

    def _is_complete(self) -> bool:
        oldest_allowed = self._version - self._rules.max_staleness
        must_wait = any(version <= oldest_allowed for version in self._versions)
        return len(self._ready) >= self._rules.groups_per_step and not must_wait

    def _check_lost(self, members: int, given_up: int) -> None:
        if members >= self._rules.groups_per_step and given_up > self._rules.max_lost_frac * members:
            raise TooManyLost(
                f"{given_up} of {members} attempts of this step were lost in all their tries; the limit is "
                f"{self._rules.max_lost_frac:.0%}. The reasons are in attempts.jsonl",
                "stream",
            )
