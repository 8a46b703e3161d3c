"""Calls that are left behind when they hang."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gen_searcher.abandoned import can_be_abandoned


async def test_what_the_call_returns_or_raises_comes_back() -> None:
    assert await can_be_abandoned(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await can_be_abandoned(lambda: 1 // 0)


def test_a_call_that_never_returns_does_not_keep_the_loop_from_ending() -> None:
    never = threading.Event()

    async def ask() -> None:
        async with asyncio.timeout(0.01):
            await can_be_abandoned(never.wait)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    never.set()
