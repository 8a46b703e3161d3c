"""More groups or attempts than are needed: what is complete first is taken, the rest is booked with its reason."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from pydantic import ValidationError

from gen_searcher.config.grpo import GrpoConfig
from gen_searcher.errors import WorldError
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.attempt import GroupRules, member_seeds, run_group
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.run import RunFolder
from gen_searcher.train.stream import GroupStream, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Group, Outcome, Reward, Task, Trajectory
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

TASK = Task(id="t", prompt="draw", target=None, meta={})
STEPS = 60


def visits() -> Iterator[Visit]:
    for number in count():
        yield Visit(number=number, task=Task(id=f"t{number}", prompt="draw", target=None, meta={}))


class Seen:
    """Steps of four groups whose time is lognormal (median 10 s, sigma 1), on a virtual clock; learning takes 5 s."""

    def __init__(self, *, max_staleness: int, spare: int) -> None:
        self.trained: list[int] = []
        self.late: list[int] = []
        self.ages: list[int] = []
        self.booked: Counter[int] = Counter()
        self.step_s = run_virtually(self._run(max_staleness, spare)) / STEPS

    async def _run(self, max_staleness: int, spare: int) -> float:
        async def run(visit: Visit, version: int, earlier: Group | None) -> Group:
            await asyncio.sleep(10.0 * random.Random(visit.number).lognormvariate(0.0, 1.0))
            return Group(task=visit.task, attempts=(), version=version, visit=visit.number)

        rules = StreamRules(
            groups_per_step=4,
            max_staleness=max_staleness,
            max_dropped=10,
            outage=OutageRules(max_lost_frac=1.0),
            spare_groups=spare,
        )
        async with GroupStream(
            visits(),
            run,
            rules=rules,
            keep=lambda _: True,
            on_group=lambda group: self.booked.update([group.visit]),
        ) as stream:
            for version in range(STEPS):
                step = await stream.take()
                self.trained += [group.visit for group in step.groups]
                self.late += [group.visit for group in step.late]
                self.ages += [version - group.version for group in step.groups]
                await asyncio.sleep(5.0)
                stream.published()
        return asyncio.get_running_loop().time()


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_a_step_does_not_wait_for_as_many_groups_as_are_spare(max_staleness: int) -> None:
    waiting, taking = (Seen(max_staleness=max_staleness, spare=spare) for spare in (0, 2))
    assert waiting.late == []
    assert taking.step_s < 0.7 * waiting.step_s
    assert len(taking.trained) == 4 * STEPS
    assert 0 < len(taking.late) <= 2 * STEPS
    assert max(taking.ages) == max_staleness
    assert not set(taking.trained) & set(taking.late)
    assert set(taking.booked.values()) == {1}, "every group is heard of once"
    assert {*taking.trained, *taking.late} <= set(taking.booked)


def test_a_synchronous_step_takes_the_first_complete_groups_in_the_order_of_their_start() -> None:
    seen = Seen(max_staleness=0, spare=2)
    took_s = {number: random.Random(number).lognormvariate(0.0, 1.0) for number in range(6)}
    quickest = sorted(sorted(took_s, key=lambda number: took_s[number])[:4])
    assert seen.trained[:4] == quickest
    assert sorted(seen.trained[:4] + seen.late[:2]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_late_groups_are_rejected_in_the_books_with_what_of_them_had_ended(tmp_path: Path, max_staleness: int) -> None:
    toy_run(tmp_path, steps=5, max_staleness=max_staleness, latency_s=0.01, spare_groups=2)
    with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
        rows = db.execute("SELECT state, reason, count(*) FROM instances GROUP BY state, reason").fetchall()
        counts = {(state, reason): number for state, reason, number in rows}
        (begun,) = db.execute("SELECT begun FROM run").fetchone()
        late = "SELECT visit FROM instances WHERE reason = 'enough other groups were complete'"
        (members,) = db.execute(
            f"SELECT count(*) FROM members WHERE visit IN ({late}) AND place IS NOT NULL"
        ).fetchone()
    assert counts[("trained", None)] == 5 * GROUPS_PER_STEP
    assert counts[("rejected", "enough other groups were complete")] > 0
    assert sum(counts.values()) == begun, "every instance begun stands somewhere, once"
    assert members >= GROUP_SIZE * counts[("rejected", "enough other groups were complete")], "scored or cut off, each"


def group_of(latencies_s: list[float], *, size: int, lost: frozenset[int] = frozenset()) -> tuple[Group, float]:
    """A group whose members take so long, those in `lost` in vain, and when it ended."""
    rules = GroupRules(size=size, spare=len(latencies_s) - size, tries=1, deadline_s=100.0)
    took_s = dict(zip(member_seeds(0, rules=rules), latencies_s, strict=True))
    doomed = {seed for place, seed in enumerate(took_s) if place in lost}

    async def attempt(task: Task, *, seed: int) -> Attempt:
        await asyncio.sleep(1000.0 if seed in doomed else took_s[seed])
        trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.MALFORMED, grounding=None)
        return Attempt(
            trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=took_s[seed], parts={})
        )

    async def scene() -> tuple[Group, float]:
        group = await run_group(TASK, seed=0, version=0, rules=rules, attempt=attempt)
        return group, asyncio.get_running_loop().time()

    return run_virtually(scene())


def test_a_group_takes_the_members_that_are_scored_first() -> None:
    group, ended_s = group_of([9.0, 1.0, 50.0, 2.0, 12.0], size=3)
    assert ended_s == pytest.approx(9.0)
    assert group.rewards == (9.0, 1.0, 2.0)
    assert [(lost.stage, lost.error) for lost in group.lost] == [
        ("cut_off", "its group had as many as it needs; see grpo.oversample")
    ] * 2
    assert group.given_up == (), "no sign of an outage"


def test_of_members_that_end_together_no_more_are_taken_than_a_group_needs() -> None:
    group, _ = group_of([5.0, 5.0, 5.0, 5.0], size=3)
    assert len(group.attempts) == 3
    assert len(group.lost) == 1


def test_a_lost_member_is_made_up_for_by_a_spare_one() -> None:
    group, ended_s = group_of([9.0, 1.0, 50.0, 2.0], size=3, lost=frozenset({0}))
    assert ended_s == pytest.approx(50.0)
    assert group.rewards == (1.0, 50.0, 2.0)


def test_an_outage_is_over_when_every_group_has_as_many_members_as_it_needs() -> None:
    rules = GroupRules(size=4, spare=3, tries=1)

    async def attempt(task: Task, *, seed: int) -> Attempt:
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(1.0)
        if began_s < 20.0:
            raise WorldError("no route to the provider")
        trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.MALFORMED, grounding=None)
        return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=0.0, parts={}))

    async def run(visit: Visit, version: int, earlier: Group | None) -> Group:
        return await run_group(
            visit.task, seed=visit.number, version=version, rules=rules, attempt=attempt, earlier=earlier
        )

    async def scene() -> tuple[tuple[Group, ...], float]:
        stream_rules = StreamRules(
            groups_per_step=2,
            max_staleness=0,
            max_dropped=10,
            outage=OutageRules(max_lost_frac=0.3, wait_s=600.0, retry_s=5.0),
        )
        async with GroupStream(
            visits(), run, rules=stream_rules, keep=lambda _: True, on_group=lambda _: None
        ) as stream:
            return (await stream.take()).groups, asyncio.get_running_loop().time()

    groups, ended_s = run_virtually(scene())
    assert ended_s == pytest.approx(39.0), "the third probe, after pauses of 5, 10 and 20 s"
    assert [len(group.attempts) for group in groups] == [4, 4]
    assert [group.given_up for group in groups] == [(), ()], "what was lost first and not needed later is no loss"


def test_spare_members_share_their_seeds_with_a_group_that_has_none() -> None:
    usual = member_seeds(7, rules=GroupRules(size=4))
    assert member_seeds(7, rules=GroupRules(size=4, spare=2))[:4] == usual


def test_spare_members_do_not_go_with_what_else_gives_members_up() -> None:
    GrpoConfig.model_validate({"oversample": {"members": 2, "groups": 1}})
    for other in ({"tail": {"members": 3, "wait_s": 1.0}}, {"pictures": {"only_useful": True}}):
        with pytest.raises(ValidationError, match=r"oversample\.members"):
            GrpoConfig.model_validate({"oversample": {"members": 2}, **other})
