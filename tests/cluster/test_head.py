"""The head of a cluster: the work ends with it, in order, and not before."""

from __future__ import annotations

import asyncio
import time

import pytest

from gen_searcher.cluster import head
from gen_searcher.cluster.head import Server, while_answered
from gen_searcher.errors import EXIT_INTERRUPTED, HeadGone

pytestmark = pytest.mark.fault(10)

HOST = "127.0.0.1"


class Head:
    """Takes connections until it is closed."""

    def __init__(self) -> None:
        self.looks = 0
        self.looked = asyncio.Condition()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._take, HOST, 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def wait_for_looks(self, more: int) -> None:
        wanted = self.looks + more
        async with self.looked:
            await self.looked.wait_for(lambda: self.looks >= wanted)

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        async with self.looked:
            self.looks += 1
            self.looked.notify_all()


async def test_work_returns_what_it_returns_while_the_head_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "PROBE_S", 0.02)
    up = Head()
    port = await up.start()

    async def work() -> int:
        await up.wait_for_looks(3)
        time.sleep(0.1)  # noqa: ASYNC251 - a busy driver: five looks' time, and it is its own fault
        await up.wait_for_looks(2)
        return 7

    server = Server(host=HOST, port=port)
    assert await while_answered(work(), head=server, node=server) == 7
    await up.close()


async def test_without_a_head_the_work_is_cancelled_and_the_code_says_run_me_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "PROBE_S", 0.02)
    up, node = Head(), Head()
    port = await up.start()
    ended: list[str] = []

    async def work() -> None:
        try:
            await up.wait_for_looks(2)
            await up.close()
            await asyncio.Event().wait()
        finally:
            ended.append("in order")

    with pytest.raises(HeadGone, match=rf"{HOST}:{port} does not answer.*run the same command again") as gone:
        await while_answered(work(), head=Server(host=HOST, port=port), node=Server(host=HOST, port=await node.start()))
    assert gone.value.exit_code == EXIT_INTERRUPTED
    assert ended == ["in order"]
    await node.close()


async def test_without_its_own_node_the_work_is_cancelled_before_ray_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "NODE_PROBE_S", 0.02)
    up, node = Head(), Head()
    server, own = Server(host=HOST, port=await up.start()), Server(host=HOST, port=await node.start())

    async def work() -> None:
        await node.wait_for_looks(3)
        await node.close()
        await asyncio.Event().wait()

    with pytest.raises(HeadGone, match=rf"this command runs on, at {own}, is gone.*run the same command again") as gone:
        await while_answered(work(), head=server, node=own)
    assert gone.value.exit_code == EXIT_INTERRUPTED
    await up.close()


async def test_what_the_work_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Head()

    async def work() -> None:
        raise KeyError("typo")

    server = Server(host=HOST, port=await up.start())
    with pytest.raises(KeyError, match="typo"):
        await while_answered(work(), head=server, node=server)
    await up.close()
