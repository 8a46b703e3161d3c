"""From what was measured among others back to what it would have taken alone: the inverse of the simulated workers."""

from __future__ import annotations

import asyncio
import random

import pytest

from gen_searcher.plan.station import Cores, Station, StationKind
from gen_searcher.plan.timeline import PoolSpans, Span, alone_s, fitted_slowdown, merged, shared_speed
from gen_searcher.plan.virtual_time import run_virtually

ENGINE = StationKind(batch=4, slowdown=0.1, threads=1.0)
GENERATOR = StationKind(batch=1, threads=1.0)


async def spans(station: Station, jobs: list[tuple[float, float]]) -> list[Span]:
    """When jobs of (start, seconds alone) were under way, their wait for a place included."""

    async def one(start_s: float, work_s: float) -> Span:
        await asyncio.sleep(start_s)
        await station.work(work_s, life=station.life)
        return Span(start_s=start_s, end_s=asyncio.get_running_loop().time())

    return await asyncio.gather(*(one(start_s, work_s) for start_s, work_s in jobs))


def test_work_on_shared_cores_is_found_again_from_when_it_was_under_way() -> None:
    rng = random.Random(0)
    turns = [(rng.uniform(0.0, 60.0), rng.uniform(0.5, 3.0)) for _ in range(60)]
    drawings = [(rng.uniform(0.0, 60.0), rng.uniform(0.5, 2.0)) for _ in range(20)]

    async def scene() -> tuple[list[Span], list[Span]]:
        cores = Cores(1.5)
        return await asyncio.gather(spans(Station(ENGINE, cores), turns), spans(Station(GENERATOR, cores), drawings))

    seen_turns, seen_drawings = run_virtually(scene())
    engine = PoolSpans(spans=seen_turns, kind=ENGINE, workers=1).served()
    generator = PoolSpans(spans=seen_drawings, kind=GENERATOR, workers=1).served()
    machine = shared_speed([engine, generator], cores=1.5)
    assert min(machine.values) == pytest.approx(0.75), "two busy threads on one and a half cores"
    assert alone_s(engine, machine) == pytest.approx([work_s for _, work_s in turns])
    assert alone_s(generator, machine) == pytest.approx([work_s for _, work_s in drawings])
    assert max(span.end_s - span.start_s for span in seen_drawings) > 3.0, "the longest took 2 s alone"


def test_the_slowdown_of_an_engine_is_found_from_tokens_and_latencies() -> None:
    rng = random.Random(1)
    tokens = [rng.randint(20, 100) for _ in range(200)]
    kind = StationKind(batch=32, slowdown=0.1)

    async def scene() -> list[Span]:
        return await spans(Station(kind), [(rng.uniform(0.0, 300.0), 0.1 + 0.05 * count) for count in tokens])

    pool = PoolSpans(spans=run_virtually(scene()), kind=StationKind(batch=32), workers=1)
    machine = shared_speed([pool], cores=None)
    assert fitted_slowdown(pool, tokens, machine) == pytest.approx(0.1, rel=0.11), (
        "the next ones tried are a fifth away"
    )


def test_two_workers_share_what_was_under_way() -> None:
    pool = PoolSpans(
        spans=[Span(start_s=0.0, end_s=6.0)] * 4, kind=StationKind(batch=4, slowdown=1.0), workers=2
    ).served()
    assert alone_s(pool, shared_speed([pool], cores=None)) == pytest.approx([3.0] * 4), "two at a time in each"


def test_spans_that_touch_are_one_and_empty_ones_none() -> None:
    seen = [(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (3.0, 4.0), (9.0, 9.0)]
    found = merged([Span(start_s=start_s, end_s=end_s) for start_s, end_s in seen])
    assert [(span.start_s, span.end_s) for span in found] == [(0.0, 4.0), (5.0, 6.0)]
