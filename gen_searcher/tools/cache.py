"""Each request once: answers of a run by request, and one flight for everybody who asks at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gen_searcher.tools.meter import Meter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached(Generic[V]):
    """An answer, and whether somebody else had asked before."""

    value: V
    is_hit: bool


class RequestCache(Generic[K, V]):
    """Least recently used answers; failures are shared by those who wait for them and then forgotten."""

    def __init__(self, entries: int, *, meter: Meter | None = None) -> None:
        """Keep up to `entries` answers; with 0 only flights are shared. `meter` counts what is asked."""
        self._meter = meter
        self._entries = entries
        self._answers: OrderedDict[K, V] = OrderedDict()
        self._flights: dict[K, asyncio.Future[V]] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> Cached[V]:
        """The answer to `key`, made by `make` when nobody has asked yet.

        Waits for the flight that is under way, if there is one. The flight is a task of its own: a caller who gives
        up does not end it for the others.
        """
        if self._meter is not None:
            self._meter.add("tool/asked_calls")
        if key in self._answers:
            self._answers.move_to_end(key)
            return Cached(value=self._answers[key], is_hit=True)
        flight = self._flights.get(key)
        is_hit = flight is not None
        if flight is None:
            flight = asyncio.ensure_future(self._fly(key, make))
            self._flights[key] = flight
            flight.add_done_callback(_retrieve)
        return Cached(value=await asyncio.shield(flight), is_hit=is_hit)

    async def _fly(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await make()
        finally:
            del self._flights[key]
        if self._entries > 0:
            self._answers[key] = value
            while len(self._answers) > self._entries:
                self._answers.popitem(last=False)
        return value


def _retrieve(flight: asyncio.Future[V]) -> None:
    """Mark a failure as seen, in case every caller has given up."""
    if not flight.cancelled():
        flight.exception()
