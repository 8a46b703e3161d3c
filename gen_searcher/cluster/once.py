"""A value that is built by the first caller that needs it, in that caller's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Actors cannot await in `__init__`; they keep one of these and await it in every call."""

    def __init__(self, build: Callable[[], Coroutine[object, object, T]]) -> None:
        """`build` runs once; when it fails, every caller gets its error."""
        self._build = build
        self._value: list[asyncio.Future[T]] = []

    async def __call__(self) -> T:
        """The value; the first call builds it, later ones wait for that."""
        if not self._value:
            self._value.append(asyncio.ensure_future(self._build()))
        return await asyncio.shield(self._value[0])
