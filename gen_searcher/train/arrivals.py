"""Work that runs at the same time, handed out as it ends; what a wait costs does not depend on how much runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrival(Generic[K, T]):
    """One task that has ended."""

    key: K
    task: asyncio.Task[T]


class Arrivals(Generic[K, T]):
    """Tasks by key. `asyncio.wait` would look at every one of them each time that one ends."""

    def __init__(self) -> None:
        """Nothing runs."""
        self._running: dict[asyncio.Task[T], K] = {}
        self._ended: list[asyncio.Task[T]] = []
        self._came = asyncio.Event()

    def __len__(self) -> int:
        """How many have not been handed out."""
        return len(self._running)

    def under_way(self) -> tuple[K, ...]:
        """Keys of those that have not been handed out."""
        return tuple(self._running.values())

    def add(self, key: K, task: asyncio.Task[T]) -> None:
        """`task` runs from now on."""
        self._running[task] = key
        task.add_done_callback(self._end)

    async def some(self) -> list[Arrival[K, T]]:
        """Wait for one to end; return all that have ended since the last time."""
        await self._came.wait()
        return self._arrived()

    async def all(self, *, timeout_s: float) -> list[Arrival[K, T]]:
        """Wait for all of them to end, but not for longer; return those that have ended since the last time."""
        await asyncio.wait(self._running, timeout=timeout_s)
        return self._arrived()

    def hand_out(self, arrival: Arrival[K, T]) -> T:
        """The result, once. What the task raised is raised here, and then the task stays."""
        result = arrival.task.result()
        del self._running[arrival.task]
        return result

    async def drop(self, wanted: Callable[[K], bool]) -> list[tuple[K, T | None]]:
        """Cancel those with such a key and forget them once they have ended; with the result of each that was quicker."""
        tasks = [task for task, key in self._running.items() if wanted(key)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ended = [task for task in self._ended if task not in tasks]
        return [(self._running.pop(task), None if task.cancelled() else task.result()) for task in tasks]

    async def cancel(self) -> list[tuple[K, T]]:
        """Cancel what runs and return once nothing does; the results that were not handed out."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        results = [
            (key, task.result())
            for task, key in self._running.items()
            if not task.cancelled() and task.exception() is None
        ]
        self._running.clear()
        return results

    def _arrived(self) -> list[Arrival[K, T]]:
        self._came.clear()
        ended, self._ended = self._ended, []
        return [Arrival(key=self._running[task], task=task) for task in ended]

    def _end(self, task: asyncio.Task[T]) -> None:
        if task in self._running:
            self._ended.append(task)
            self._came.set()
