"""What Ray raises of its own accord is a lost worker and never a crash; the pool takes the worker up again when it answers."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

import pytest
from ray.actor import ActorHandle
from ray.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

from gen_searcher.cluster import pool as pools
from gen_searcher.cluster.pool import Pool
from gen_searcher.errors import ActorGone


class Method:
    """Of a stand-in for a handle of Ray's: raises once, then answers."""

    def __init__(self, error: RayError | None) -> None:
        self._error = error

    def remote(self) -> Awaitable[str]:
        error, self._error = self._error, None
        return self._answer(error)

    async def _answer(self, error: RayError | None) -> str:
        if error is not None:
            raise error
        return "done"


class Handle:
    def __init__(self, error: RayError) -> None:
        self.work = Method(error)
        self.ready = Method(None)


@pytest.mark.fault(8, 13)
@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("the worker was killed: the node runs low on memory"),
        NodeDiedError("the node is gone"),
        ObjectLostError("00" * 28, None, "the answer was on a node that is gone"),
        WorkerCrashedError(),
        ActorUnavailableError("the head is busy", None),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_of_rays_own_is_a_lost_worker(monkeypatch: pytest.MonkeyPatch, error: RayError) -> None:
    monkeypatch.setattr(pools, "READY_POLL_S", 0.0)
    pool = Pool("rollout", [cast("ActorHandle", Handle(error))], stage="search", wraps_plugs=False)
    with pytest.raises(ActorGone, match="rollout actor 0 is gone"):
        await pool.call("work")
    assert pool.healthy == ()
    assert await pool.call("work") == "done", "it was only waited for"


async def test_a_worker_that_dies_while_it_is_built_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "READY_POLL_S", 0.0)
    handle = Handle(OutOfMemoryError("the worker was killed"))
    handle.ready = handle.work
    pool = Pool("rollout", [cast("ActorHandle", handle)], stage="search", wraps_plugs=False)
    await pool.wait_ready()
    assert pool.healthy == (0,)
