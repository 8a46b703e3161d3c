"""One rollout takes a hundred times as long: the step closes at its deadline, and the group's rule holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest

from gen_searcher.grpo.select import has_attempts
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.attempt import GroupRules, member_seeds, run_group
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.stream import GroupStream, Step, StreamRules
from gen_searcher.train.tail import TailRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Group, Outcome, Reward, Task, Trajectory

pytestmark = pytest.mark.fault(18)

USUAL_S = 1.0
STRAGGLER_S = 100.0
GROUPS = 3
SIZE = 4
SLOW_VISIT = 1


async def attempt(task: Task, *, seed: int, slow_seed: int) -> Attempt:
    await asyncio.sleep(STRAGGLER_S if seed == slow_seed else USUAL_S)
    trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.MALFORMED, grounding=None)
    return Attempt(
        trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=seed % 7 / 7, parts={})
    )


def visits() -> Iterator[Visit]:
    return (Visit(number=n, task=Task(id=f"t{n}", prompt="draw", target=None, meta={})) for n in count())


class Closed:
    """The steps of a stream, and when each closed."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.at_s: list[float] = []
        self.seen: list[int] = []


def closed(rules: GroupRules, *, steps: int, max_staleness: int = 0) -> Closed:
    """A member of visit 1 is the straggler, in each of its tries."""
    slow_seed = member_seeds(derive_seed("visit", SLOW_VISIT), rules=rules)[2]

    async def run(visit: Visit, version: int, earlier: Group | None) -> Group:
        seed = derive_seed("visit", visit.number)
        make = partial(attempt, slow_seed=slow_seed)
        return await run_group(visit.task, seed=seed, version=version, rules=rules, attempt=make, earlier=earlier)

    async def scene() -> Closed:
        found = Closed()
        stream_rules = StreamRules(
            groups_per_step=GROUPS,
            max_staleness=max_staleness,
            max_dropped=6,
            outage=OutageRules(max_lost_frac=0.3),
        )
        seen = found.seen
        async with GroupStream(
            visits(),
            run,
            rules=stream_rules,
            keep=has_attempts,
            on_group=lambda group: seen.append(len(group.attempts)),
        ) as stream:
            for _ in range(steps):
                found.steps.append(await stream.take())
                found.at_s.append(asyncio.get_running_loop().time())
                stream.published()
        return found

    return run_virtually(scene())


def test_past_its_deadline_a_member_is_lost_and_its_group_trains_on_the_rest() -> None:
    found = closed(GroupRules(size=SIZE, tries=1, deadline_s=10.0), steps=1)
    assert found.at_s == [pytest.approx(10.0)]
    slow = found.steps[0].groups[SLOW_VISIT]
    assert (len(slow.attempts), [lost.stage for lost in slow.lost]) == (SIZE - 1, ["deadline"])
    assert slow.lost[0].seed not in {made.seed for made in slow.attempts}
    assert [len(group.attempts) for group in found.steps[0].groups] == [SIZE, SIZE - 1, SIZE]


def test_every_try_has_a_deadline_so_that_a_step_closes_after_all_of_them() -> None:
    found = closed(GroupRules(size=SIZE, tries=3, deadline_s=10.0), steps=1)
    assert found.at_s == [pytest.approx(30.0)]
    assert [lost.stage for lost in found.steps[0].groups[SLOW_VISIT].lost] == ["deadline"] * 3


def test_with_a_tail_it_is_cut_off_once_its_siblings_have_ended() -> None:
    rules = GroupRules(size=SIZE, tries=3, deadline_s=1000.0, tail=TailRules(members=3, wait_s=5.0))
    found = closed(rules, steps=1)
    assert found.at_s == [pytest.approx(USUAL_S + 5.0)]
    slow = found.steps[0].groups[SLOW_VISIT]
    assert ([lost.stage for lost in slow.lost], slow.given_up) == (["cut_off"], ()), "our own doing is no outage"


def test_an_asynchronous_run_carries_it_over_and_waits_only_before_it_would_be_too_old() -> None:
    found = closed(GroupRules(size=SIZE, deadline_s=1000.0), steps=3, max_staleness=2)
    assert found.at_s[0] == pytest.approx(USUAL_S)
    assert found.at_s[2] == pytest.approx(STRAGGLER_S), "two publishes after its start it must be taken"
    taken = [[group.task.id for group in step.groups] for step in found.steps]
    assert f"t{SLOW_VISIT}" in taken[2]
    assert f"t{SLOW_VISIT}" not in taken[0] + taken[1]
    assert set(found.seen) == {SIZE}, "nobody was lost"
