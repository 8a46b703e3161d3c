"""Cutting the tail off a group: when enough members have ended, the others get only so much longer.

It biases: what takes long is trained on less often. Off unless asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
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
    """What the members return, in their order; None for those that were cut off. Without rules: `asyncio.gather`."""
    if tail is None:
        return [*await asyncio.gather(*members)]
    tasks = [asyncio.ensure_future(member) for member in members]
    try:
        running = set(tasks)
        while running and len(tasks) - len(running) < tail.members:
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if running:
            await asyncio.wait(running, timeout=tail.wait_s)
        ended = [task.result() if task.done() else None for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return ended
