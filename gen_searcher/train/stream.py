"""Groups in flight: tasks -> run_group (many at once) -> the groups of one step.

A group holds a slot from its start until the step that trained on it is published; a step holds `groups_per_step` slots,
also where it found fewer groups with signal. There are `groups_per_step * (max_staleness + 1)` slots, so with
`max_staleness=0` nothing runs while the learner works (synchronous, on policy) and with k a group lags at most k
publishes behind. A `Room` bounds the attempts under way. With `spare_groups` there are so many slots more, and a step
that has all it needs gives up as many groups, at most, that would be too old for the next one.

A group that lost members trains on the rest, unless the step lost too many: then it waits for the world. Nothing new is
started meanwhile, and the lost members, with their seeds, are what the world is probed with.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

from gen_searcher.errors import TooManyLost
from gen_searcher.train.arrivals import Arrival, Arrivals
from gen_searcher.train.gathering import Finished, Gathering, Started
from gen_searcher.train.outage import OutageRules, begin
from gen_searcher.train.room import Room
from gen_searcher.train.staleness import leaves_none_too_old
from gen_searcher.train.tasks import Upcoming, Visit
from gen_searcher.types import Group

log = logging.getLogger(__name__)

SELDOM = (100_000, 50, 100)
"""When the garbage collector runs while groups do. It walks through every waiting attempt each time, and finds nothing:
what an attempt leaves behind goes by reference counts. Measured with 4,096 attempts in flight: a third of the driver's
time at Python's own thresholds."""


class StreamRunner(Protocol):
    """Makes one group."""

    def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Coroutine[object, object, Group]:
        """The visit's group, at once when an earlier start of the run has finished it; `earlier` has members to try again."""
        ...


class GivesUp(Protocol):
    """Settles a group that is not waited for any more."""

    def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Group:
        """What is left of it: the attempts that had ended. It has been cancelled, and none of it runs."""
        ...


SetsAside = Callable[[Sequence[int]], None]
"""Hears the visits without signal for which a run ends, so that the next start need not end for them as well."""

OnWait = Callable[[str], None]
"""Hears a few words when a wait for the world begins, and an empty text when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """When a step has what it needs."""

    groups_per_step: int
    max_staleness: int
    """Most publishes between a group's start and the step that trains on it; 0 is synchronous."""
    max_dropped: int
    """Groups without signal after which a step takes what it has, or stops if it has nothing. Those that have stopped an
    earlier start of the run are not counted again."""
    outage: OutageRules
    """When the world is down."""
    spare_groups: int = 0
    """Groups under way beyond what the steps need: so many that would become too old are not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What `take` hands over."""

    groups: tuple[Group, ...]
    """To learn from, in the order in which they were started."""
    dropped: tuple[Group, ...]
    """Finished since the last step and with nothing to teach."""
    late: tuple[Group, ...] = ()
    """Given up because the step had enough others: with what of them had ended, in the order of their start."""


def _say_nothing(says: str) -> None:
    del says


def _leave_nothing(visit: Visit, version: int, earlier: Group | None) -> Group:
    del earlier
    return Group(task=visit.task, attempts=(), version=version, visit=visit.number)


def _keep_nothing(visits: Sequence[int]) -> None:
    del visits


class GroupStream:
    """Keeps the slots full and hands out the groups of each step. Use as an async context manager."""

    def __init__(
        self,
        visits: Iterator[Visit],
        run: StreamRunner,
        *,
        rules: StreamRules,
        keep: Callable[[Group], bool],
        on_group: Callable[[Group], None],
        on_wait: OnWait = _say_nothing,
        give_up: GivesUp = _leave_nothing,
        set_aside: SetsAside = _keep_nothing,
        room: Room | None = None,
        version: int = 0,
    ) -> None:
        """`on_group` sees every finished group once: at once, or when its lost members are not tried again.

        `give_up` is asked for what is left of a group that ran when a step had enough others. A group starts when the
        `room` has space for it, and is as old as that; None: as soon as there is a slot.
        """
        self._upcoming = Upcoming(visits)
        self._run = run
        self._rules = rules
        self._keep = keep
        self._on_group = on_group
        self._on_wait = on_wait
        self._give_up = give_up
        self._set_aside = set_aside
        self._version = version
        self._slots = rules.groups_per_step * (rules.max_staleness + 1) + rules.spare_groups
        self._running: Arrivals[Started, Group] = Arrivals()
        self._versions: Counter[int] = Counter()
        self._ready: list[Finished] = []
        self._held: dict[int, Group] = {}
        self._in_training = 0
        self._left_empty: int | None = None
        """Slots that are not filled now; None starts nothing."""
        self._usual = gc.get_threshold()
        self._room = Room(attempts=None, group_size=1) if room is None else room
        self._room.watch(self._fill)

    async def __aenter__(self) -> GroupStream:
        """Nothing starts before the first `take`."""
        gc.set_threshold(*SELDOM)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still runs; record what is finished and was not recorded yet."""
        await self.stop()
        for visit in sorted(self._held):
            self._on_group(self._held[visit])
        self._held.clear()
        gc.set_threshold(*self._usual)

    async def take(self) -> Step:
        """Wait for the groups of the next step.

        Waits for enough groups with signal, until none that it leaves would be too old for the steps that can take it,
        and in an outage for the world.

        Raises:
            Outage: The world stayed down for longer than the rules allow.
            TooManyLost: There is nothing to learn from, and waiting would not help.
        """
        gathering = Gathering()
        await self._gather(gathering)
        self._left_empty = None
        late = await self._give_up_late()
        self._left_empty = self._must_stay_empty(dropped=0) if self._rules.max_staleness else None
        self._settle()
        self._ready.sort(key=lambda finished: finished.started.order)
        taken, rest = self._ready[: self._rules.groups_per_step], self._ready[self._rules.groups_per_step :]
        if not taken:
            self._set_aside([finished.started.visit.number for finished in gathering.dropped])
            raise TooManyLost(
                f"{len(gathering.in_vain)} groups in a row had nothing to teach (equal rewards, or all tries lost); the "
                "policy is as it was before this step. The same command passes these over and tries as many others"
            )
        if self._rules.spare_groups:
            late += [finished for finished in rest if self._is_too_old(finished.started)]
            late.sort(key=lambda finished: finished.started.order)
            rest = [finished for finished in rest if not self._is_too_old(finished.started)]
        self._ready = rest
        self._in_training = self._rules.groups_per_step
        self._fill()
        return Step(
            groups=tuple(finished.group for finished in taken),
            dropped=tuple(finished.group for finished in gathering.dropped),
            late=tuple(finished.group for finished in late),
        )

    async def _gather(self, gathering: Gathering) -> None:
        """Until the step has what it needs, or nothing is left to wait for."""
        while True:
            if self._is_outage(gathering):
                await self._wait_for_the_world(gathering)
            self._left_empty = self._must_stay_empty(dropped=len(gathering.in_vain))
            if self._is_complete():
                return
            self._fill()
            if not self._running:
                self._upcoming.hurry()
                self._fill()
            if not self._running:
                return
            self._collect(await self._running.some(), gathering)

    async def stop(self) -> None:
        """The run ends: start nothing more, and return once nothing runs. What had ended is held."""
        self._left_empty = None
        self._held.update((started.visit.number, group) for started, group in await self._running.cancel())

    def published(self) -> None:
        """The step is published: its slots come back."""
        self._version += 1
        self._in_training = 0
        self._fill()

    @property
    def _free_slots(self) -> int:
        return self._slots - len(self._running) - len(self._ready) - self._in_training

    def _must_stay_empty(self, *, dropped: int) -> int:
        """Slots, so that no more than `max_dropped` groups are in vain.

        It counts what was started, not what has ended, so that it is the same whatever ends first.
        """
        return max(0, dropped + 1 - self._rules.max_dropped)

    def _fill(self) -> None:
        """Start groups while there are slots and, for a first member, room."""
        while (
            self._left_empty is not None
            and self._free_slots > self._left_empty
            and self._room.has_space
            and self._upcoming.is_due(self._version)
        ):
            visit = self._upcoming.pop()
            version = self._version if visit.version is None else min(visit.version, self._version)
            self._start(Started(version=version, visit=visit))

    def _start(self, started: Started) -> None:
        work = self._run(started.visit, started.version, started.earlier)
        places = self._room.enter()
        running = asyncio.get_running_loop().create_task(work, context=places.context())
        running.add_done_callback(lambda _: places.close())
        self._running.add(started, running)
        self._versions[started.version] += 1

    def _collect(self, ended: list[Arrival[Started, Group]], gathering: Gathering) -> None:
        """Sort groups that have ended into those to learn from and those without signal."""
        for arrival in sorted(ended, key=lambda each: each.key.order):
            started, group = arrival.key, self._running.hand_out(arrival)
            self._ended(started)
            gathering.saw(started.visit.number, group)
            if len(group.given_up) > len(group.hopeless):
                self._held[started.visit.number] = group
            else:
                self._held.pop(started.visit.number, None)
                self._on_group(group)
            finished = Finished(started=started, group=group)
            (self._ready if self._keep(group) else gathering.dropped).append(finished)

    def _ended(self, started: Started) -> None:
        left = self._versions[started.version] - 1
        if left:
            self._versions[started.version] = left
        else:
            del self._versions[started.version]

    async def _give_up_late(self) -> list[Finished]:
        """Cancel what would be too old for the next step; `_is_complete` has seen that there are no more than may be."""
        late: list[Finished] = []
        if not self._rules.spare_groups:
            return late
        await asyncio.sleep(0)  # one that was started just now is cancelled where it waits, not before it begins
        for started, result in await self._running.drop(self._is_too_old):
            self._ended(started)
            group = self._give_up(started.visit, started.version, started.earlier) if result is None else result
            self._held.pop(started.visit.number, None)
            self._on_group(group)
            late.append(Finished(started=started, group=group))
        return late

    def _is_too_old(self, started: Started) -> bool:
        """For every step after this one."""
        return started.version <= self._version - self._rules.max_staleness

    def _is_outage(self, gathering: Gathering) -> bool:
        if gathering.members < self._rules.groups_per_step or not gathering.given_up:
            return False
        rules = self._rules.outage
        if gathering.given_up <= rules.max_lost_frac * gathering.members and gathering.given_up < gathering.members:
            return False
        return gathering.losses.is_outage(rules)

    async def _wait_for_the_world(self, gathering: Gathering) -> None:
        """Wait for what runs, pause, try the lost members again; until enough of them are made or the time is up."""
        loop = asyncio.get_running_loop()
        waiting = begin(self._rules.outage, now_s=loop.time())
        log.warning("%s", waiting.says(gathering.losses))
        self._on_wait(waiting.note(gathering.losses))
        self._left_empty = None
        probe = 0
        while self._is_outage(gathering):
            if waiting.left_s(loop.time()) == 0.0:
                raise waiting.ended(gathering.losses)
            if self._running:
                self._collect(await self._running.all(timeout_s=waiting.left_s(loop.time())), gathering)
                continue
            await asyncio.sleep(min(self._rules.outage.pause_s(probe), waiting.left_s(loop.time())))
            if waiting.left_s(loop.time()) > 0.0:
                self._reissue(gathering)
            probe += 1
        log.warning("the outage is over after %.0f s and %d probes", loop.time() - waiting.started_s, probe)
        self._on_wait("")

    def _reissue(self, gathering: Gathering) -> None:
        """Start the groups again whose lost members may be mended; one whose place was taken meanwhile stays dropped."""
        again = [each for each in (*self._ready, *gathering.dropped) if each.started.visit.number in self._held]
        self._ready = [each for each in self._ready if each.started.visit.number not in self._held]
        gathering.dropped = [each for each in gathering.dropped if each.started.visit.number not in self._held]
        for each in again:
            if self._free_slots > 0:
                self._start(replace(each.started, earlier=each.group))
                continue
            self._on_group(self._held.pop(each.started.visit.number))
            gathering.forget(each.started.visit.number)
            gathering.dropped.append(each)

    def _settle(self) -> None:
        """The step is whole: what its groups lost stays lost."""
        if not self._held:
            return
        running = {started.visit.number for started in self._running.under_way()}
        for visit in sorted(self._held.keys() - running):
            self._on_group(self._held.pop(visit))

    def _is_complete(self) -> bool:
        if len(self._ready) < self._rules.groups_per_step:
            return False
        rules = self._rules
        return leaves_none_too_old(
            Counter(finished.started.version for finished in self._ready),
            self._versions,
            version=self._version,
            groups_per_step=rules.groups_per_step,
            max_staleness=rules.max_staleness,
            spare_groups=rules.spare_groups,
        )
