"""How a pool keeps its number of actors: dead ones come back or are replaced, as long as they do not die too often."""
# pyright: reportUnknownVariableType=false, reportMissingTypeArgument=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ray.actor import ActorHandle

READY_S = 600.0
"""Longest wait for an actor that restarts, when nobody says otherwise: an engine loads a large model in minutes."""

Raise = Callable[[int], Awaitable[ActorHandle | None]]
"""Number of an actor -> a new one in its place; None when it is not wanted any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Where new actors come from, and how many deaths of one are bad luck."""

    raise_actor: Raise
    restarts: int | None = None
    """Deaths of one actor within `window_s` after which it comes back; one more, and it rests. None: any number, and
    somebody else may bring new ones at any time."""
    window_s: float = 3600.0
    ready_s: float = READY_S
    """Longest time until a new or restarted actor serves, waiting for its node included; then another one is raised."""


class Deaths:
    """Of one actor, lately."""

    def __init__(self, *, most: int | None, window_s: float) -> None:
        """`most` deaths within `window_s` are forgiven; None forgives all."""
        self._most = most
        self._window_s = window_s
        self._times_s: deque[float] = deque(maxlen=None if most is None else most + 1)

    def note(self, now_s: float) -> None:
        """It died."""
        if self._most is not None:
            self._times_s.append(now_s)

    def rest_s(self, now_s: float) -> float:
        """Seconds until no window holds more than is forgiven; 0 when it may come back at once."""
        if self._most is None or len(self._times_s) <= self._most:
            return 0.0
        return max(0.0, self._times_s[0] + self._window_s - now_s)


class DeathsOfAll:
    """Of the actors of a pool, by their numbers and by the clock of the running event loop."""

    def __init__(self, upkeep: Upkeep | None) -> None:
        """Without upkeep none is counted, and nobody rests."""
        self._upkeep = upkeep
        self._of: dict[int, Deaths] = {}

    def note(self, index: int) -> None:
        """It died."""
        if self._upkeep is not None:
            deaths = Deaths(most=self._upkeep.restarts, window_s=self._upkeep.window_s)
            self._of.setdefault(index, deaths).note(asyncio.get_running_loop().time())

    def rest_s(self, index: int) -> float:
        """See `Deaths.rest_s`."""
        deaths = self._of.get(index)
        return 0.0 if deaths is None else deaths.rest_s(asyncio.get_running_loop().time())

    def forget(self, index: int) -> None:
        """It has left for good."""
        self._of.pop(index, None)
