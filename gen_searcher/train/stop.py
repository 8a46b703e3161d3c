"""Ending in order: a signal asks, the run answers where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gen_searcher.errors import Interrupted

T = TypeVar("T")


class Stop:
    """A request to end. It interrupts waiting for others; what is under way in the learner is finished first."""

    def __init__(self) -> None:
        """Nobody has asked."""
        self._asked = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Somebody has asked."""
        return self._asked.is_set()

    def ask(self) -> None:
        """End soon."""
        self._asked.set()

    def end(self) -> None:
        """Raise Interrupted; for code that has saved what there is to save."""
        raise Interrupted("interrupted, with everything saved; run the same command again to continue")

    async def unless(self, work: Awaitable[T]) -> T:
        """Wait for the work or for the request; on the request the work is cancelled.

        Raises:
            Interrupted: The request came first.
        """
        working = asyncio.ensure_future(work)
        asking = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((working, asking), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                self.end()
            return working.result()
        finally:
            for waiting in (working, asking):
                waiting.cancel()
            await asyncio.gather(working, asking, return_exceptions=True)
