"""A simulated worker that shares its speed among what it works on, and a pool of them behind the production router."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gen_searcher.errors import WorldError
from gen_searcher.train.routing import Router

ROUNDING_S = 1e-9
"""Work that is left of a job because seconds are floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StationKind:
    """How a worker's speed depends on how much it has to do."""

    batch: int
    """Jobs at a time; further ones wait in the order in which they came."""
    slowdown: float = 0.0
    """Share by which each further job slows all of them: a job alone takes `s`, among b jobs `s * (1 + slowdown * (b - 1))`.
    0 for jobs that do not feel each other, 1 for a worker that gains nothing by doing several at once."""
    threads: float = 0.0
    """Cores that a busy worker takes of those that all share, see `Cores`."""

    def speed(self, jobs: int) -> float:
        """Of each of `jobs` jobs, 1 for a job alone."""
        return 1.0 / (1.0 + self.slowdown * (jobs - 1))

    @property
    def capacity(self) -> float:
        """Most seconds of work, as they would take alone, that get done in a second."""
        return max(jobs * self.speed(jobs) for jobs in (1, self.batch))


class Cores:
    """Cores that the busy workers of all pools share: when these ask for more, all of them go slower alike."""

    def __init__(self, count: float | None) -> None:
        """None: every worker has cores of its own."""
        self._count = count
        self._asked = 0.0
        self._stations: list[Station] = []

    @property
    def speed(self) -> float:
        """Of every worker, 1 when there are enough."""
        return core_speed(self._count, self._asked)

    def join(self, station: Station) -> None:
        """`station` feels what the others take."""
        self._stations.append(station)

    def take(self, threads: float) -> None:
        """So many cores are asked for from now on, or no longer when negative."""
        before = self.speed
        if self._count is None or threads == 0.0:
            return
        for station in self._stations:
            station.settle()
        self._asked += threads
        if self.speed != before:
            for station in self._stations:
                station.arm()


def core_speed(cores: float | None, asked: float) -> float:
    """What each of the threads gets when so many ask for `cores`: the scheduler of the machine shares them evenly."""
    return 1.0 if cores is None or asked <= cores else cores / asked


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Job:
    done_at: float
    """On the scale of `Station._attained`."""
    number: int
    finished: asyncio.Future[None] = field(compare=False)


class Station:
    """One worker. Time passes on the running loop's clock."""

    def __init__(self, kind: StationKind, cores: Cores | None = None) -> None:
        """Nothing to do yet."""
        self._kind = kind
        self._cores = Cores(None) if cores is None else cores
        self._cores.join(self)
        self._is_busy = False
        self._jobs: list[_Job] = []
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._attained = 0.0
        self._since_s = 0.0
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._lives = 0
        self._worked_s = 0.0

    @property
    def life(self) -> int:
        """Counts the deaths: what began in an earlier life is lost."""
        return self._lives

    async def work(self, alone_s: float, *, life: int) -> None:
        """Return when a job is done that takes `alone_s` seconds alone. Raises WorldError when that life is over."""
        if life != self._lives:
            raise WorldError("the worker died", "actor")
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.settle()
        if len(self._jobs) < self._kind.batch:
            self._begin(alone_s, finished)
        else:
            self._waiting.append((alone_s, finished))
        self._go_on()
        try:
            await finished
        finally:
            if finished.cancelled():
                self._forget(finished)

    def die(self) -> None:
        """Lose everything."""
        self.settle()
        self._lives += 1
        lost = [job.finished for job in self._jobs] + [finished for _, finished in self._waiting]
        self._jobs.clear()
        self._waiting.clear()
        self._go_on()
        for finished in lost:
            if not finished.done():
                finished.set_exception(WorldError("the worker died", "actor"))

    def worked_s(self) -> float:
        """Work done until now, as it would have taken alone; lost work too."""
        self.settle()
        return self._worked_s

    def _begin(self, alone_s: float, finished: asyncio.Future[None]) -> None:
        self._number += 1
        heapq.heappush(self._jobs, _Job(done_at=self._attained + alone_s, number=self._number, finished=finished))

    @property
    def _speed(self) -> float:
        return self._kind.speed(len(self._jobs)) * self._cores.speed

    def _go_on(self) -> None:
        """After any change of the jobs."""
        if bool(self._jobs) != self._is_busy:
            self._is_busy = not self._is_busy
            self._cores.take(self._kind.threads if self._is_busy else -self._kind.threads)
        self.arm()

    def settle(self) -> None:
        """Book what was done since the last time."""
        now_s = asyncio.get_running_loop().time()
        if self._jobs:
            done = (now_s - self._since_s) * self._speed
            self._attained += done
            self._worked_s += done * len(self._jobs)
        else:
            self._attained = 0.0
        self._since_s = now_s

    def arm(self) -> None:
        """Wake up when the first of the jobs is done at the present speed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._jobs:
            left_s = max(0.0, self._jobs[0].done_at - self._attained) / self._speed
            self._timer = asyncio.get_running_loop().call_later(left_s, self._due)

    def _due(self) -> None:
        self.settle()
        while self._jobs and self._jobs[0].done_at <= self._attained + ROUNDING_S * (1.0 + self._attained):
            job = heapq.heappop(self._jobs)
            if not job.finished.done():
                job.finished.set_result(None)
        self._take_waiting()
        self._go_on()

    def _take_waiting(self) -> None:
        while self._waiting and len(self._jobs) < self._kind.batch:
            alone_s, finished = self._waiting.popleft()
            if not finished.done():
                self._begin(alone_s, finished)

    def _forget(self, finished: asyncio.Future[None]) -> None:
        self.settle()
        self._jobs = [job for job in self._jobs if job.finished is not finished]
        heapq.heapify(self._jobs)
        self._take_waiting()
        self._go_on()


class StationPool:
    """Stations of one role, chosen as `cluster.pool.Pool` chooses actors."""

    def __init__(self, workers: int, kind: StationKind, cores: Cores | None = None) -> None:
        """All are healthy."""
        self.kind = kind
        self.stations = [Station(kind, cores) for _ in range(workers)]
        self._router = Router(workers)
        self._healthy = set(range(workers))
        self._recovered = asyncio.Event()

    @asynccontextmanager
    async def worker(self, *, key: int | None = None, slack: int = 0) -> AsyncGenerator[Station]:
        """A worker for one call: the idlest, or the one that had `key` last."""
        while not self._healthy:
            self._recovered.clear()
            await self._recovered.wait()
        if key is None:
            index = self._router.idlest(self._healthy)
        else:
            index = self._router.near(key, self._healthy, slack=slack)
        self._router.began(index)
        try:
            yield self.stations[index]
        finally:
            self._router.ended(index)

    async def lose(self, index: int, *, restart_s: float) -> None:
        """Kill a worker, and bring it back after its restart."""
        self._healthy.discard(index)
        self.stations[index].die()
        await asyncio.sleep(restart_s)
        self._healthy.add(index)
        self._recovered.set()

    def busy_s(self) -> float:
        """Work that all of them did until now, as it would have taken alone."""
        return sum(station.worked_s() for station in self.stations)

    @property
    def capacity(self) -> float:
        """Most seconds of work that all together do in a second."""
        return len(self.stations) * self.kind.capacity
