"""An event loop whose clock stands still while anything can run and jumps to the next timer when nothing can.

Timeouts of minutes pass in microseconds and always in the same order. For code without sockets, threads or processes:
the loop does not wait for the outside.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")


class _NeverWaits(selectors.BaseSelector):
    """Looks at what is ready; the time that it was told to wait passes on the clock instead."""

    def __init__(self) -> None:
        self._inner = selectors.DefaultSelector()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._inner.select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing can ever run again: every task waits for something that no timer brings")
            self.now_s += max(0.0, timeout)
        return ready

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time()` begins at 0."""

    def __init__(self) -> None:
        """No time has passed."""
        self._virtual = _NeverWaits()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds that were waited for."""
        return self._virtual.now_s


def run_virtually(main: Coroutine[object, object, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
