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
GONE_S = 20.0
"""Without an answer after which the head is gone: time for one that is restarted, and well before Ray gives up."""


async def while_head_lives(work: Coroutine[object, object, T], *, gone_s: float = GONE_S) -> T:
    """What `work` returns. Needs a cluster session.

    Raises:
        HeadGone: The head did not answer for `gone_s`; the work was cancelled.
    """
    host, _, port = cast("str", ray.get_runtime_context().gcs_address).rpartition(":")
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_until_gone(host, int(port), gone_s=gone_s))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HeadGone(
            f"the head of the Ray cluster at {host}:{port} has not answered for {gone_s:g} s. What is finished is in the "
            "ledger and the weights are in the last checkpoint; run the same command again, on a cluster that is up"
        )
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _until_gone(host: str, port: int, *, gone_s: float) -> None:
    loop = asyncio.get_running_loop()
    answered_s = loop.time()
    while loop.time() - answered_s < gone_s:
        if await _answers(host, port):
            answered_s = loop.time()
        else:
            log.warning("the head of the Ray cluster at %s:%d does not answer", host, port)
        await asyncio.sleep(PROBE_S)


async def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False
