"""Blocking calls that may never return, e.g. questions to a head that is gone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def can_be_abandoned(call: Callable[[], T]) -> T:
    """What `call` returns, from a thread of its own that nobody joins.

    `asyncio.to_thread` takes a thread of the loop's pool, and `asyncio.run` does not return before all of them do: one that
    hangs in Ray keeps a run whose head is gone from ending in order, until Ray ends the process with code 1.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # pyright: ignore[reportArgumentType]  # None only when T is

    def ask() -> None:
        result: T | None = None
        failed: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=ask, name="can-be-abandoned", daemon=True).start()
    return await answer
