"""Work that runs at the same time, handed out as it ends; what a wait costs does not depend on how much runs."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


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

    def add(self, key: K, task: asyncio.Task[T]) -> None:
        """`task` runs from now on."""
        self._running[task] = key
        task.add_done_callback(self._end)

    async def some(self) -> list[tuple[K, T]]:
        """Wait for one to end; return all that have ended. What one raised is raised here."""
        await self._came.wait()
        self._came.clear()
        ended, self._ended = self._ended, []
        return [(self._running.pop(task), task.result()) for task in ended]

    async def cancel(self) -> None:
        """Return once nothing runs any more."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    def _end(self, task: asyncio.Task[T]) -> None:
        if task in self._running:
            self._ended.append(task)
            self._came.set()
