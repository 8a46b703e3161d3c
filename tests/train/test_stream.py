"""Group streams: which groups make a step, and how old they may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from gen_searcher.errors import TooManyLost
from gen_searcher.train.stream import GroupStream, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Group, Lost, Task


def endless_visits() -> Iterator[Visit]:
    for number in count():
        yield Visit(number=number, task=Task(id=f"t{number}", prompt="draw", target=None, meta={}))


def rules(**changes: float) -> StreamRules:
    values = {"groups_per_step": 2, "max_staleness": 0, "max_dropped": 10, "max_lost_frac": 0.5, **changes}
    return StreamRules(**values)  # type: ignore[arg-type]


class Runner:
    """Groups end when the test says so."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.started: list[tuple[int, int]] = []

    async def __call__(self, visit: Visit, version: int) -> Group:
        self.started.append((visit.number, version))
        await self.gates.setdefault(visit.number, asyncio.Event()).wait()
        return Group(task=visit.task, attempts=(), version=version)

    def finish(self, *visits: int) -> None:
        for visit in visits:
            self.gates.setdefault(visit, asyncio.Event()).set()


def names(groups: tuple[Group, ...]) -> list[str]:
    return [group.task.id for group in groups]


async def test_synchronous_steps_start_nothing_while_the_learner_works() -> None:
    runner = Runner()
    runner.finish(0, 1, 2, 3)
    async with GroupStream(endless_visits(), runner, rules=rules(), keep=lambda _: True) as stream:
        first = await stream.take()
        assert names(first.groups) == ["t0", "t1"]
        assert runner.started == [(0, 0), (1, 0)]
        stream.published()
        second = await stream.take()
        assert names(second.groups) == ["t2", "t3"]
        assert [group.version for group in second.groups] == [1, 1]


async def test_one_step_of_staleness_starts_the_next_groups_early_and_waits_for_the_oldest() -> None:
    runner = Runner()
    runner.finish(1, 2)
    stream_rules = rules(max_staleness=1)
    async with GroupStream(endless_visits(), runner, rules=stream_rules, keep=lambda _: True) as stream:
        first = await stream.take()
        assert names(first.groups) == ["t1", "t2"], "groups are taken as they complete"
        stream.published()
        waiting = asyncio.ensure_future(stream.take())
        runner.finish(4, 5)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done(), "t0 and t3 were started at version 0 and would be too old for a later step"
        runner.finish(0, 3)
        assert names((await waiting).groups) == ["t0", "t3"]


async def test_no_group_is_ever_older_than_the_staleness_bound() -> None:
    runner = Runner()
    ages: list[int] = []
    stream_rules = rules(max_staleness=2, groups_per_step=3)
    async with GroupStream(endless_visits(), runner, rules=stream_rules, keep=lambda _: True) as stream:
        for version in range(12):
            runner.finish(*[visit for visit, _ in runner.started if visit % 5 != 0])
            taking = asyncio.ensure_future(stream.take())
            for _ in range(10):
                await asyncio.sleep(0)
                runner.finish(*[visit for visit, _ in runner.started if visit % 5 != 0])
            runner.finish(*[visit for visit, _ in runner.started])
            ages += [version - group.version for group in (await taking).groups]
            stream.published()
    assert len(ages) == 36
    assert max(ages) == 2


async def test_a_group_without_signal_returns_its_slot_at_once() -> None:
    runner = Runner()
    runner.finish(*range(10))
    async with GroupStream(
        endless_visits(),
        runner,
        rules=rules(),
        keep=lambda g: g.task.id not in {"t0", "t2"},
    ) as stream:
        step = await stream.take()
    assert names(step.groups) == ["t1", "t3"]
    assert names(step.dropped) == ["t0", "t2"]


async def test_a_stream_that_only_sees_groups_without_signal_says_so_and_stops() -> None:
    runner = Runner()
    runner.finish(*range(30))
    async with GroupStream(endless_visits(), runner, rules=rules(), keep=lambda _: False) as stream:
        with pytest.raises(TooManyLost, match="nothing to teach"):
            await stream.take()
    assert len(runner.started) <= 12


async def test_more_lost_tries_than_allowed_stop_the_run() -> None:
    async def outage(visit: Visit, version: int) -> Group:
        await asyncio.sleep(0)
        lost = tuple(Lost(task_id=visit.task.id, seed=member, stage="judge", error="503") for member in range(4))
        return Group(task=visit.task, attempts=(), lost=lost, version=version)

    async with GroupStream(endless_visits(), outage, rules=rules(), keep=lambda _: False) as stream:
        with pytest.raises(TooManyLost, match="8 of 8 attempts"):
            await stream.take()
