"""Watching the head of the cluster: when it is gone, Ray waits for a minute and then ends the process with code 1."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import TypeVar, cast

import ray

from gen_searcher.errors import HeadGone

log = logging.getLogger(__name__)

T = TypeVar("T")

PROBE_S = 2.0
"""Between two looks, and the longest wait for an answer."""
MISSES = 10
"""Looks in a row without an answer after which the head is gone: time for one that is restarted, and before Ray gives up.
They are counted, not timed, because a driver that was busy for a while has not looked."""


async def while_head_lives(work: Coroutine[object, object, T]) -> T:
    """What `work` returns. Needs a cluster session.

    Raises:
        HeadGone: The head did not answer MISSES times; the work was cancelled.
    """
    host, _, port = cast("str", ray.get_runtime_context().gcs_address).rpartition(":")
    return await while_answered(work, host=host, port=int(port))


async def while_answered(work: Coroutine[object, object, T], *, host: str, port: int) -> T:
    """The same for the head at this address."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_until_gone(host, port))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HeadGone(
            f"the head of the Ray cluster at {host}:{port} does not answer. What is finished is in the ledger, and the weights "
            "are in the last checkpoint; run the same command again, on a cluster that is up"
        )
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _until_gone(host: str, port: int) -> None:
    missed = 0
    while missed < MISSES:
        missed = 0 if await _answers(host, port) else missed + 1
        if missed:
            log.warning("the head of the Ray cluster at %s:%d does not answer (%d of %d)", host, port, missed, MISSES)
        await asyncio.sleep(PROBE_S)


async def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False
