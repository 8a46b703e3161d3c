"""Group streams: which groups make a step, and how old they may be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import count, pairwise

import pytest

from gen_searcher.errors import JudgeGone, Outage, TooManyLost, WorldError
from gen_searcher.testing.virtual_time import run_virtually
from gen_searcher.train.attempt import GroupRules, run_member
from gen_searcher.train.outage import LONGEST_RETRY_S, OutageRules
from gen_searcher.train.room import Room
from gen_searcher.train.stream import GroupStream, Step, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Group, Lost, Outcome, Reward, Task, Trajectory


def endless_visits() -> Iterator[Visit]:
    for number in count():
        yield Visit(number=number, task=Task(id=f"t{number}", prompt="draw", target=None, meta={}))


HALF = OutageRules(max_lost_frac=0.5)


def rules(outage: OutageRules = HALF, **changes: int) -> StreamRules:
    values = {"groups_per_step": 2, "max_staleness": 0, "max_dropped": 10, **changes}
    return StreamRules(**values, outage=outage)


class Runner:
    """Groups end when the test says so."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.started: list[tuple[int, int]] = []

    async def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Group:
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
    async with GroupStream(
        endless_visits(), runner, rules=rules(), keep=lambda _: True, on_group=lambda _: None
    ) as stream:
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
    async with GroupStream(
        endless_visits(), runner, rules=stream_rules, keep=lambda _: True, on_group=lambda _: None
    ) as stream:
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


async def test_a_stream_that_is_stopped_starts_nothing_and_has_waited_for_what_ran() -> None:
    stopped: list[int] = []

    async def run(visit: Visit, version: int, earlier: Group | None) -> Group:
        if visit.number == 1:
            await asyncio.sleep(0)
            raise JudgeGone("its model is retired")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            stopped.append(visit.number)
        raise AssertionError("waits for ever")

    async with GroupStream(
        endless_visits(), run, rules=rules(groups_per_step=3), keep=lambda _: True, on_group=lambda _: None
    ) as stream:
        with pytest.raises(JudgeGone):
            await stream.take()
        await stream.stop()
        assert stopped == [0, 2]
        stream.published()
        await asyncio.sleep(0)
    assert stopped == [0, 2]


async def test_with_bounded_room_a_group_starts_when_an_attempt_ends_and_is_as_old_as_that() -> None:
    started: list[tuple[int, int]] = []
    gates = [asyncio.Event() for _ in range(40)]

    async def attempt(task: Task, *, seed: int) -> Attempt:
        await gates[seed].wait()
        raise WorldError("enough")

    async def run(visit: Visit, version: int, earlier: Group | None) -> Group:
        started.append((visit.number, version))
        task = visit.task
        members = (
            run_member(task, seed=seed, rules=GroupRules(size=2, tries=1), make=partial(attempt, task, seed=seed))
            for seed in (2 * visit.number, 2 * visit.number + 1)
        )
        await asyncio.gather(*members)
        return Group(task=task, attempts=(), version=version)

    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    room = Room(attempts=3, group_size=2)
    async with GroupStream(
        endless_visits(),
        run,
        rules=rules(groups_per_step=1, max_staleness=3),
        keep=lambda _: True,
        on_group=lambda _: None,
        room=room,
    ) as stream:
        taking = asyncio.ensure_future(stream.take())
        await settle()
        assert started == [(0, 0), (1, 0)], "four slots, but the second group already has the last place"
        gates[0].set()
        gates[1].set()
        assert names((await taking).groups) == ["t0"]
        assert started == [(0, 0), (1, 0), (2, 0)], "it starts while the learner works"
        stream.published()
        gates[2].set()
        await settle()
        assert started[3:] == [], "four slots hold no more than three places"
        gates[4].set()
        await settle()
        assert started[3:] == [(3, 1)], "and counts as old as its start"


async def test_a_group_without_signal_returns_its_slot_at_once() -> None:
    runner = Runner()
    runner.finish(*range(10))
    seen: list[str] = []
    async with GroupStream(
        endless_visits(),
        runner,
        rules=rules(),
        keep=lambda g: g.task.id not in {"t0", "t2"},
        on_group=lambda g: seen.append(g.task.id),
    ) as stream:
        step = await stream.take()
    assert names(step.groups) == ["t1", "t3"]
    assert names(step.dropped) == ["t0", "t2"]
    assert sorted(seen) == ["t0", "t1", "t2", "t3"]


async def test_a_stream_that_only_sees_groups_without_signal_says_so_and_stops() -> None:
    runner = Runner()
    runner.finish(*range(30))
    async with GroupStream(
        endless_visits(), runner, rules=rules(), keep=lambda _: False, on_group=lambda _: None
    ) as stream:
        with pytest.raises(TooManyLost, match="nothing to teach"):
            await stream.take()
    assert len(runner.started) <= 12


SIZE = 4


class Weather:
    """Groups of four members whose attempts are lost as long as the test says; keeps what it was asked for."""

    def __init__(self, *, down_until_s: float, lost_members: int = SIZE, passes: bool = True) -> None:
        self.down_until_s = down_until_s
        self.lost_members = lost_members
        self.passes = passes
        self.asked: list[tuple[float, str, int]] = []
        """Time, task, members to make."""

    async def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Group:
        task = visit.task
        kept = () if earlier is None else earlier.attempts
        seeds = [seed for seed in range(SIZE) if seed not in {attempt.seed for attempt in kept}]
        now_s = asyncio.get_running_loop().time()
        self.asked.append((now_s, task.id, len(seeds)))
        await asyncio.sleep(1)
        down = seeds[-self.lost_members :] if now_s < self.down_until_s else []
        lost = tuple(Lost(task_id=task.id, seed=seed, stage="judge", error="503", passes=self.passes) for seed in down)
        made = tuple(scored(task, seed) for seed in seeds if seed not in down)
        return Group(
            task=task,
            attempts=(*kept, *made),
            lost=(*(() if earlier is None else earlier.lost), *lost),
            version=version,
        )


def scored(task: Task, seed: int) -> Attempt:
    trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.MALFORMED, grounding=None)
    return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=seed, parts={}))


class Taken:
    """One `take` of two groups of four in virtual time, and everything that was heard of it."""

    def __init__(self, weather: Weather, outage: OutageRules) -> None:
        self.recorded: list[Group] = []
        self.waits: list[str] = []
        self.error: Exception | None = None
        self.groups: tuple[Group, ...] = ()
        self.took_s = run_virtually(self._take(weather, outage))

    async def _take(self, weather: Weather, outage: OutageRules) -> float:
        try:
            async with GroupStream(
                endless_visits(),
                weather,
                rules=rules(outage),
                keep=lambda group: len(group.attempts) > 0,
                on_group=self.recorded.append,
                on_wait=self.waits.append,
            ) as stream:
                self.groups = (await stream.take()).groups
        except (Outage, TooManyLost) as error:
            self.error = error
        return asyncio.get_running_loop().time()


def test_a_group_that_lost_a_little_trains_on_the_rest() -> None:
    taken = Taken(Weather(down_until_s=0.5, lost_members=1), OutageRules(max_lost_frac=0.3))
    assert [len(group.attempts) for group in taken.groups] == [3, 3]
    assert [len(group.attempts) for group in taken.recorded] == [3, 3]
    assert (taken.waits, taken.took_s) == ([], 1.0)


def test_in_an_outage_the_lost_members_are_tried_again_and_nothing_new_is_started() -> None:
    weather = Weather(down_until_s=30.0, lost_members=3)
    taken = Taken(weather, OutageRules(max_lost_frac=0.3, wait_s=600, retry_s=5))
    # 1 s of work, then pauses of 5, 10 and 20 s, each with a probe of 1 s
    assert [(at, members) for at, task, members in weather.asked if task == "t0"] == [(0, 4), (6, 3), (17, 3), (38, 3)]
    assert {task for _, task, _ in weather.asked} == {"t0", "t1"}
    assert [len(group.attempts) for group in taken.groups] == [4, 4]
    assert [[attempt.seed for attempt in group.attempts] for group in taken.recorded] == [[0, 1, 2, 3]] * 2
    assert [len(group.lost) for group in taken.recorded] == [9, 9], "every lost try stays on record"
    assert len(taken.waits) == 2
    assert taken.waits[0].endswith("judge down")
    assert taken.waits[1] == ""


def test_a_world_that_stays_down_is_waited_for_as_long_as_configured_and_what_was_made_is_recorded() -> None:
    weather = Weather(down_until_s=1e9, lost_members=3)
    taken = Taken(weather, OutageRules(max_lost_frac=0.3, wait_s=1000, retry_s=5))
    assert isinstance(taken.error, Outage)
    assert taken.error.exit_code == 75
    assert "6 of 8 attempts of the step stayed lost\n  judge: 503\n" in taken.error.message
    assert "run the same command again" in taken.error.message
    assert taken.took_s == 1001.0
    assert [len(group.attempts) for group in taken.recorded] == [1, 1]
    probes_s = [at for at, task, _ in weather.asked if task == "t0"]
    assert max(b - a for a, b in pairwise(probes_s)) == LONGEST_RETRY_S + 1
    assert len(probes_s) == 12
    assert len(taken.waits) == 1


def test_losing_everything_is_an_outage_whatever_the_limit() -> None:
    taken = Taken(Weather(down_until_s=1e9), OutageRules(max_lost_frac=1.0, wait_s=100))
    assert isinstance(taken.error, Outage)
    assert taken.took_s == 101.0


def test_what_no_waiting_mends_stops_the_run_at_once_with_code_3() -> None:
    taken = Taken(Weather(down_until_s=1e9, passes=False), OutageRules(max_lost_frac=0.3))
    assert isinstance(taken.error, TooManyLost)
    assert taken.error.exit_code == 3
    assert "8 of 8 attempts of this step can never be scored" in taken.error.message
    assert taken.took_s == 1.0
    assert [len(group.lost) for group in taken.recorded] == [4, 4]


def test_a_probe_that_hangs_does_not_outlast_the_wait() -> None:
    class Hangs(Weather):
        async def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Group:
            if earlier is not None:
                await asyncio.Event().wait()
            return await super().__call__(visit, version, earlier)

    taken = Taken(Hangs(down_until_s=1e9, lost_members=2), OutageRules(max_lost_frac=0.3, wait_s=50))
    assert isinstance(taken.error, Outage)
    assert taken.took_s == 51.0
    assert [len(group.attempts) for group in taken.recorded] == [2, 2]


def test_a_group_whose_place_was_taken_before_the_outage_showed_is_not_tried_again() -> None:
    ends_s = {"t1": 1, "t0": 2, "t2": 3, "t3": 4}

    async def run(visit: Visit, version: int, earlier: Group | None) -> Group:
        task = visit.task
        now_s = asyncio.get_running_loop().time()
        await asyncio.sleep(ends_s[task.id] - now_s if earlier is None else 1)
        lost = () if earlier is None else earlier.lost
        if task.id != "t1" and earlier is None:
            lost = tuple(Lost(task_id=task.id, seed=seed, stage="judge", error="503") for seed in range(SIZE))
            return Group(task=task, attempts=(), lost=lost, version=version)
        return Group(task=task, attempts=tuple(scored(task, seed) for seed in range(SIZE)), lost=lost, version=version)

    async def take() -> Step:
        async with GroupStream(
            endless_visits(),
            run,
            rules=rules(groups_per_step=3),
            keep=lambda group: len(group.attempts) > 0,
            on_group=lambda group: recorded.append(group.task.id),
        ) as stream:
            return await stream.take()

    recorded: list[str] = []
    step = run_virtually(take())
    # t0 is half of what has ended when it is lost, so t3 gets its place; with t2 and t3 lost as well it is an outage
    assert names(step.groups) == ["t0", "t1", "t2"]
    assert names(step.dropped) == ["t3"]
    assert sorted(recorded) == ["t0", "t1", "t2", "t3"]
