"""Groups in flight: tasks -> run_group (many at once) -> the groups of one step.

A group holds a slot from its start until the step that trained on it is published. There are
`groups_per_step * (max_staleness + 1)` slots, so with `max_staleness=0` nothing runs while the learner works
(synchronous, on policy) and with k a group lags at most k publishes behind.

A group that lost members trains on the rest, unless the step lost too many: then it waits for the world. Nothing new is
started meanwhile, and the lost members, with their seeds, are what the world is probed with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol

from gen_searcher.errors import TooManyLost
from gen_searcher.train.outage import Losses, OutageRules, begin
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Group

log = logging.getLogger(__name__)


class StreamRunner(Protocol):
    """Makes one group."""

    async def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Group:
        """The visit's group, at once when an earlier start of the run has finished it; `earlier` has members to try again."""
        ...


OnWait = Callable[[str], None]
"""Hears a few words when a wait for the world begins, and an empty text when it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    """When a step has what it needs."""

    groups_per_step: int
    max_staleness: int
    """Most publishes between a group's start and the step that trains on it; 0 is synchronous."""
    max_dropped: int
    """Groups without signal after which a step takes what it has, or stops if it has nothing."""
    outage: OutageRules
    """When the world is down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What `take` hands over."""

    groups: tuple[Group, ...]
    """To learn from, in the order in which they were started."""
    dropped: tuple[Group, ...]
    """Finished since the last step and with nothing to teach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    version: int
    visit: Visit
    earlier: Group | None = None

    @property
    def order(self) -> tuple[int, int]:
        return (self.version, self.visit.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    started: _Started
    group: Group


@dataclass(slots=True, kw_only=True)
class _Gathering:
    """What one `take` has seen."""

    dropped: list[_Finished] = field(default_factory=list[_Finished])
    latest: dict[int, Group] = field(default_factory=dict[int, Group])
    """By visit."""

    @property
    def losses(self) -> Losses:
        return Losses.of(list(self.latest.values()))


def _say_nothing(says: str) -> None:
    del says


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
        version: int = 0,
    ) -> None:
        """`on_group` sees every finished group once: at once, or when its lost members are not tried again."""
        self._visits = visits
        self._run = run
        self._rules = rules
        self._keep = keep
        self._on_group = on_group
        self._on_wait = on_wait
        self._version = version
        self._slots = rules.groups_per_step * (rules.max_staleness + 1)
        self._running: dict[asyncio.Task[Group], _Started] = {}
        self._ready: list[_Finished] = []
        self._held: dict[int, Group] = {}
        self._in_training = 0

    async def __aenter__(self) -> GroupStream:
        """Nothing starts before the first `take`."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still runs; record what is finished and was not recorded yet."""
        for running, started in self._running.items():
            if running.done() and not running.cancelled() and running.exception() is None:
                self._held[started.visit.number] = running.result()
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for visit in sorted(self._held):
            self._on_group(self._held[visit])
        self._held.clear()

    async def take(self) -> Step:
        """Wait for the groups of the next step.

        Waits for enough groups with signal, for every group that would be too old for a later step, and in an outage
        for the world.

        Raises:
            Outage: The world stayed down for longer than the rules allow.
            TooManyLost: There is nothing to learn from, and waiting would not help.
        """
        gathering = _Gathering()
        while True:
            if self._is_outage(gathering):
                await self._wait_for_the_world(gathering)
            self._fill(dropped=len(gathering.dropped))
            if self._is_complete() or not self._running:
                break
            await self._collect(gathering, return_when=asyncio.FIRST_COMPLETED)
        self._settle()
        self._ready.sort(key=lambda finished: finished.started.order)
        taken = self._ready[: self._rules.groups_per_step]
        if not taken:
            raise TooManyLost(
                f"{len(gathering.dropped)} groups in a row had nothing to teach (equal rewards, or all tries lost); the "
                "policy is as it was before this step"
            )
        self._ready = self._ready[self._rules.groups_per_step :]
        self._in_training = len(taken)
        return Step(
            groups=tuple(finished.group for finished in taken),
            dropped=tuple(finished.group for finished in gathering.dropped),
        )

    def published(self) -> None:
        """The step is published: its slots come back."""
        self._version += 1
        self._in_training = 0
        if self._rules.max_staleness:
            self._fill()

    @property
    def _free_slots(self) -> int:
        return self._slots - len(self._running) - len(self._ready) - self._in_training

    def _fill(self, *, dropped: int = 0) -> None:
        """Start groups until all slots are taken, or so many that `max_dropped` of them may be in vain.

        The second bound counts what was started, not what has ended, so that it is the same whatever ends first.
        """
        left_empty = max(0, dropped + 1 - self._rules.max_dropped)
        while self._free_slots > left_empty:
            visit = next(self._visits)
            version = self._version if visit.version is None else min(visit.version, self._version)
            self._start(_Started(version=version, visit=visit))

    def _start(self, started: _Started) -> None:
        work = self._run(started.visit, started.version, started.earlier)
        self._running[asyncio.ensure_future(work)] = started

    async def _collect(self, gathering: _Gathering, *, return_when: str, timeout_s: float | None = None) -> None:
        """Wait for running groups and sort them into those to learn from and those without signal."""
        done, _ = await asyncio.wait(self._running, return_when=return_when, timeout=timeout_s)
        for running in sorted(done, key=lambda task: self._running[task].order):
            group = running.result()
            started = self._running.pop(running)
            gathering.latest[started.visit.number] = group
            if len(group.given_up) > len(group.hopeless):
                self._held[started.visit.number] = group
            else:
                self._held.pop(started.visit.number, None)
                self._on_group(group)
            finished = _Finished(started=started, group=group)
            (self._ready if self._keep(group) else gathering.dropped).append(finished)

    def _is_outage(self, gathering: _Gathering) -> bool:
        losses = gathering.losses
        return losses.members >= self._rules.groups_per_step and losses.is_outage(self._rules.outage)

    async def _wait_for_the_world(self, gathering: _Gathering) -> None:
        """Wait for what runs, pause, try the lost members again; until enough of them are made or the time is up."""
        loop = asyncio.get_running_loop()
        waiting = begin(self._rules.outage, now_s=loop.time())
        log.warning("%s", waiting.says(gathering.losses))
        self._on_wait(waiting.note(gathering.losses))
        probe = 0
        while self._is_outage(gathering):
            if waiting.left_s(loop.time()) == 0.0:
                raise waiting.ended(gathering.losses)
            if self._running:
                await self._collect(gathering, return_when=asyncio.ALL_COMPLETED, timeout_s=waiting.left_s(loop.time()))
                continue
            await asyncio.sleep(min(self._rules.outage.pause_s(probe), waiting.left_s(loop.time())))
            if waiting.left_s(loop.time()) > 0.0:
                self._reissue(gathering)
            probe += 1
        log.warning("the outage is over after %.0f s and %d probes", loop.time() - waiting.started_s, probe)
        self._on_wait("")

    def _reissue(self, gathering: _Gathering) -> None:
        """Start the groups again whose lost members may be mended; one whose place was taken meanwhile stays dropped."""
        again = [each for each in (*self._ready, *gathering.dropped) if each.started.visit.number in self._held]
        self._ready = [each for each in self._ready if each.started.visit.number not in self._held]
        gathering.dropped = [each for each in gathering.dropped if each.started.visit.number not in self._held]
        for each in again:
            if self._free_slots > 0:
                self._start(replace(each.started, earlier=each.group))
                continue
            self._on_group(self._held.pop(each.started.visit.number))
            del gathering.latest[each.started.visit.number]
            gathering.dropped.append(each)

    def _settle(self) -> None:
        """The step is whole: what its groups lost stays lost."""
        running = {started.visit.number for started in self._running.values()}
        for visit in sorted(self._held.keys() - running):
            self._on_group(self._held.pop(visit))

    def _is_complete(self) -> bool:
        oldest_allowed = self._version - self._rules.max_staleness
        must_wait = any(started.version <= oldest_allowed for started in self._running.values())
        return len(self._ready) >= self._rules.groups_per_step and not must_wait
