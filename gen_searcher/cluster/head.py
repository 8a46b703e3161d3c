"""Watching the head of the cluster and the command's own node.

Ray answers the loss of either by ending the process with code 1: of the head a minute later, of the own node's server
within seconds and without a word.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
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
NODE_PROBE_S = 0.5
"""Between two looks at the command's own node."""
REFUSALS = 2
"""In a row, of the own node: nobody listens there any more, and Ray never starts a node's server again."""


async def while_head_lives(work: Coroutine[object, object, T]) -> T:
    """What `work` returns. Needs a cluster session.

    Raises:
        HeadGone: The head did not answer MISSES times, or nobody listens at the own node; the work was cancelled.
    """
    host, _, port = cast("str", ray.get_runtime_context().gcs_address).rpartition(":")
    return await while_answered(work, head=Server(host=host, port=int(port)), node=_own_node())


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where one of Ray's servers listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"


async def while_answered(work: Coroutine[object, object, T], *, head: Server, node: Server) -> T:
    """The same for these servers."""
    working = asyncio.ensure_future(work)
    watching = {
        asyncio.ensure_future(_until_gone(head)): f"the head of the Ray cluster at {head} does not answer",
        asyncio.ensure_future(_until_refused(node)): f"the Ray node that this command runs on, at {node}, is gone",
    }
    try:
        await asyncio.wait((working, *watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        what = next(said for task, said in watching.items() if task.done())
        raise HeadGone(
            f"{what}. What is finished is in the ledger, and the weights are in the last checkpoint; run the same command "
            "again, on a cluster that is up"
        )
    finally:
        for task in (working, *watching):
            task.cancel()
        await asyncio.gather(working, *watching, return_exceptions=True)


def _own_node() -> Server:
    own = ray.get_runtime_context().get_node_id()
    (node,) = (one for one in ray.nodes() if one["NodeID"] == own)
    return Server(host=node["NodeManagerAddress"], port=node["NodeManagerPort"])


async def _until_gone(head: Server) -> None:
    missed = 0
    while missed < MISSES:
        try:
            await _reach(head)
            missed = 0
        except (OSError, TimeoutError):
            missed += 1
            log.warning("the head of the Ray cluster at %s does not answer (%d of %d)", head, missed, MISSES)
        await asyncio.sleep(PROBE_S)


async def _until_refused(node: Server) -> None:
    """A node that is only busy does not refuse."""
    refused = 0
    while refused < REFUSALS:
        try:
            await _reach(node)
            refused = 0
        except ConnectionRefusedError:
            refused += 1
        except (OSError, TimeoutError) as error:
            log.debug("the own node at %s: %s", node, error)
        await asyncio.sleep(NODE_PROBE_S)


async def _reach(server: Server) -> None:
    """Connect and hang up. Raises OSError and TimeoutError."""
    async with asyncio.timeout(PROBE_S):
        _, writer = await asyncio.open_connection(server.host, server.port)
    writer.close()
