"""Cutting the tail off a group: when enough members have ended, the others get only so much longer, or no longer.

Both bias: what takes long is trained on less often. Off unless asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TailRules:
    """When the last members of a group are given up."""

    members: int
    """Members that must have ended."""
    wait_s: float
    """How long the others still have then."""


async def gathered(members: Sequence[Coroutine[object, object, T]], tail: TailRules | None) -> list[T | None]:
    """What the members return, in their order; None for those that were cut off. Without rules: `everybody`."""
    if tail is None:
        return [*await everybody(members)]

    async def wait(tasks: Sequence[asyncio.Future[T]]) -> None:
        running = set(tasks)
        while running and len(tasks) - len(running) < tail.members:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # one that failed has not ended: it ends the others
        if running:
            await asyncio.wait(running, timeout=tail.wait_s, return_when=asyncio.FIRST_EXCEPTION)

    return await _ended(members, wait)


async def everybody(members: Sequence[Coroutine[object, object, T]]) -> list[T]:
    """What all members return, in their order.

    When one fails (it ends the run: a judge is gone, a budget spent) the others are stopped before its error leaves here.
    """
    tasks = [asyncio.ensure_future(member) for member in members]
    try:
        return [*await asyncio.gather(*tasks)]
    finally:
        await _stop(tasks)


async def first_of(
    members: Sequence[Coroutine[object, object, T]], *, wanted: int, counts: Callable[[T], bool]
) -> list[T | None]:
    """What the members return, in their order, until so many of them count; None for those that are then not needed.

    Of several that end in the same moment the first of the group are taken.
    """

    async def wait(tasks: Sequence[asyncio.Future[T]]) -> None:
        running, counted = set(tasks), 0
        while running and counted < wanted:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            counted += sum(counts(task.result()) for task in done)

    ended = await _ended(members, wait)
    needed = [place for place, one in enumerate(ended) if one is not None and counts(one)][:wanted]
    return [one if one is None or not counts(one) or place in needed else None for place, one in enumerate(ended)]


async def _ended(
    members: Sequence[Coroutine[object, object, T]],
    wait: Callable[[Sequence[asyncio.Future[T]]], Awaitable[None]],
) -> list[T | None]:
    """What had ended once `wait` returned; the others are cancelled."""
    tasks = [asyncio.ensure_future(member) for member in members]
    try:
        await wait(tasks)
        return [task.result() if task.done() else None for task in tasks]
    finally:
        await _stop(tasks)


async def _stop(tasks: Sequence[asyncio.Future[T]]) -> None:
    """Return once none of them runs."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
