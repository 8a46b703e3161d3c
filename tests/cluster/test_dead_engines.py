"""Actors that live and whose engine is dead, on a real Ray: suspended and started again like dead ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.pool import Pool
from gen_searcher.errors import ActorGone, EngineDead

pytestmark = pytest.mark.usefixtures("local_ray")


class Worker:
    """Like a rollout worker: everything but `search` and `ready` works on without its engine."""

    def __init__(self) -> None:
        self.has_engine = True
        self.calls = 0

    async def ready(self) -> bool:
        self.ask()
        return True

    async def search(self) -> int:
        self.ask()
        self.calls += 1
        return self.calls

    async def lose_engine(self) -> None:
        self.has_engine = False

    def ask(self) -> None:
        if not self.has_engine:
            raise EngineDead("the engine is dead")


@asynccontextmanager
async def one_worker() -> AsyncIterator[Pool]:
    remote = ray.remote(num_cpus=0.01, max_restarts=1)(Worker)
    handle = cast("ActorHandle", remote.options(max_concurrency=10).remote())
    pool = Pool("rollout", [handle], stage="search", wraps_plugs=False)
    try:
        await pool.wait_ready()
        assert await pool.call("search") == 1
        yield pool
    finally:
        pool.stop()


async def test_an_actor_whose_engine_died_under_its_calls_is_killed_once_and_serves_again() -> None:
    async with one_worker() as pool:
        await pool.call("lose_engine")
        found = await asyncio.gather(*(pool.call("search") for _ in range(4)), return_exceptions=True)
        assert {type(error) for error in found} == {ActorGone}
        assert "rollout actor 0 is gone: policy: the engine is dead" in str(found[0])
        assert pool.healthy == ()
        assert await pool.call("search") == 1, "another process: a second kill would have used its only restart up"


async def test_an_actor_whose_engine_died_is_found_out_when_it_is_told_of_new_weights() -> None:
    async with one_worker() as pool:
        await pool.call("lose_engine")
        await pool.ready_again()
        assert pool.healthy == ()
        assert await pool.call("search") == 1, "another process: a second kill would have used its only restart up"
