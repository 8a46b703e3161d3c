"""Simulated workers: shared speed, queues, deaths."""

from __future__ import annotations

import asyncio

import pytest

from gen_searcher.errors import WorldError
from gen_searcher.plan.station import Station, StationKind, StationPool
from gen_searcher.plan.virtual_time import run_virtually


async def ends(station: Station, *jobs: tuple[float, float]) -> list[float]:
    """When jobs of (start, seconds alone) end."""

    async def one(start_s: float, alone_s: float) -> float:
        await asyncio.sleep(start_s)
        await station.work(alone_s, life=station.life)
        return asyncio.get_running_loop().time()

    return await asyncio.gather(*(one(start_s, alone_s) for start_s, alone_s in jobs))


def test_a_worker_that_gains_nothing_by_batches_shares_its_speed() -> None:
    station = Station(StationKind(batch=2, slowdown=1.0))
    # Until 2 s the first is alone; then both at half speed until it has its 6 s at 10 s; the second has 4 of its 5 s.
    assert run_virtually(ends(station, (0.0, 6.0), (2.0, 5.0))) == pytest.approx([10.0, 11.0])


def test_jobs_beyond_the_batch_wait_in_the_order_in_which_they_came() -> None:
    station = Station(StationKind(batch=1))
    assert run_virtually(ends(station, (0.0, 3.0), (2.0, 1.0), (1.0, 4.0))) == pytest.approx([3.0, 8.0, 7.0])


def test_capacity_is_the_most_work_that_gets_done_in_a_second() -> None:
    assert StationKind(batch=48, slowdown=0.068).capacity == pytest.approx(48 / (1 + 0.068 * 47))
    assert StationKind(batch=8, slowdown=2.0).capacity == 1.0, "one at a time is faster"


def test_a_cancelled_job_leaves_its_place_to_the_next() -> None:
    async def scene() -> float:
        station = Station(StationKind(batch=1))
        first = asyncio.ensure_future(station.work(100.0, life=0))
        second = asyncio.ensure_future(station.work(1.0, life=0))
        await asyncio.sleep(5.0)
        first.cancel()
        await second
        return asyncio.get_running_loop().time()

    assert run_virtually(scene()) == pytest.approx(6.0)


def test_a_worker_that_dies_loses_its_jobs_and_serves_again_after_its_restart() -> None:
    async def scene() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        pool = StationPool(1, StationKind(batch=4))
        dying = asyncio.ensure_future(pool.lose(0, restart_s=30.0))
        async with pool.worker() as worker:
            life = worker.life
            await asyncio.sleep(0.0)
            with pytest.raises(WorldError, match="actor: the worker died"):
                await worker.work(10.0, life=life)
        lost_s = loop.time()
        async with pool.worker() as worker:
            await worker.work(10.0, life=worker.life)
        await dying
        return lost_s, loop.time()

    assert run_virtually(scene()) == pytest.approx((0.0, 40.0))


def test_work_that_was_done_is_counted_as_it_would_have_taken_alone() -> None:
    async def scene() -> float:
        pool = StationPool(2, StationKind(batch=2, slowdown=1.0))

        async def one() -> None:
            async with pool.worker() as worker:
                await worker.work(3.0, life=worker.life)

        await asyncio.gather(*(one() for _ in range(4)))
        assert asyncio.get_running_loop().time() == pytest.approx(6.0)
        return pool.busy_s()

    assert run_virtually(scene()) == pytest.approx(12.0)
