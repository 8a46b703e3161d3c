"""No group is older than the bound when a step trains on it, however the groups' times fall."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count

import pytest

from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.attempt import member_ended
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.room import Room
from gen_searcher.train.staleness import leaves_none_too_old
from gen_searcher.train.stream import GroupStream, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Group, Task

SEEDS = range(6)
LEARN_S = 0.5


def may_go(
    ended: dict[int, int], running: dict[int, int], *, version: int, max_staleness: int, spare_groups: int = 0
) -> bool:
    return leaves_none_too_old(
        ended,
        running,
        version=version,
        groups_per_step=2,
        max_staleness=max_staleness,
        spare_groups=spare_groups,
    )


def test_a_step_waits_for_running_groups_that_would_be_too_old_for_the_next() -> None:
    assert not may_go({1: 2}, {0: 1, 1: 1}, version=1, max_staleness=1)
    assert may_go({1: 2}, {0: 1, 1: 1}, version=1, max_staleness=1, spare_groups=1)
    assert may_go({0: 1, 1: 1}, {1: 2}, version=1, max_staleness=1)


def test_a_step_leaves_no_more_than_the_steps_after_it_can_take_in_time() -> None:
    assert may_go({2: 2}, {1: 2}, version=2, max_staleness=2), "the next step takes both"
    assert not may_go({2: 2}, {1: 3}, version=2, max_staleness=2), "the next step takes two of the three"
    assert may_go({2: 2}, {1: 3}, version=2, max_staleness=2, spare_groups=1)
    assert not may_go({1: 1, 2: 1}, {1: 3}, version=2, max_staleness=2), "ended and left behind is left behind"
    assert may_go({1: 2, 2: 1}, {1: 2}, version=2, max_staleness=2)


def test_where_waiting_would_change_nothing_a_step_does_not_wait() -> None:
    assert may_go({0: 3}, {0: 2}, version=2, max_staleness=1)
    assert not may_go({0: 1, 1: 2}, {0: 2}, version=1, max_staleness=1), "it can still take one more of the oldest"


class Run:
    """Steps on groups whose times have a heavy tail (lognormal, median 1 s, sigma 1.2), with a learner of half a second.

    One group in ten has nothing to teach; of the first `flat` visits only one has, so that a step gives up waiting for
    more. With `start_again_every` the process ends in the midst of every so many steps,
    and the next goes on with what had been begun: what had ended is there at once, and half of the rest has kept attempts
    and so its age.
    """

    def __init__(
        self,
        *,
        seed: int,
        groups: int,
        max_staleness: int,
        spare: int = 0,
        steps: int = 60,
        start_again_every: int | None = None,
        attempts: int | None = None,
        flat: int = 0,
    ) -> None:
        self.ages: list[int] = []
        self.late: list[int] = []
        """Groups given up, of each step."""
        self.trained: Counter[int] = Counter()
        self._seed = seed
        self._attempts = attempts
        self._flat = flat
        self._rules = StreamRules(
            groups_per_step=groups,
            max_staleness=max_staleness,
            max_dropped=6 * groups if flat else 1_000_000,
            outage=OutageRules(max_lost_frac=1.0),
            spare_groups=spare,
        )
        self._begun: dict[int, int] = {}
        """Visit -> version, of those that no step has used."""
        self._ended: set[int] = set()
        run_virtually(self._whole(steps, start_again_every or steps))

    async def _whole(self, steps: int, every: int) -> None:
        for first in range(0, steps, every):
            await self._one_start(first, min(steps, first + every))

    async def _one_start(self, first: int, last: int) -> None:
        async with GroupStream(
            self._visits(),
            self._group,
            rules=self._rules,
            keep=lambda group: self._has_signal(group.visit),
            on_group=lambda group: None,
            room=Room(attempts=self._attempts, group_size=2),
            version=first,
        ) as stream:
            for version in range(first, last):
                step = await stream.take()
                self.ages += [version - group.version for group in step.groups]
                self.late.append(len(step.late))
                self.trained.update(group.visit for group in step.groups)
                for group in chain(step.groups, step.late, step.dropped):
                    del self._begun[group.visit]
                await asyncio.sleep(LEARN_S)
                stream.published()
            cut = asyncio.ensure_future(stream.take())
            await asyncio.sleep(0.1)
            cut.cancel()
            await asyncio.gather(cut, return_exceptions=True)

    def _visits(self) -> Iterator[Visit]:
        fresh = max([*self._begun, *self.trained, -1]) + 1
        for number, version in sorted(self._begun.items()):
            kept = number in self._ended or self._rng(number, f"kept {version}").random() < 0.5
            yield visit(number, version if kept else None)
        yield from (visit(number, None) for number in count(fresh))

    async def _group(self, visit: Visit, version: int, earlier: Group | None) -> Group:
        self._begun[visit.number] = version
        for member in range(0 if visit.number in self._ended else 2):
            await asyncio.sleep(self._rng(visit.number, str(member)).lognormvariate(0.0, 1.2))
            member_ended()
        self._ended.add(visit.number)
        return Group(task=visit.task, attempts=(), version=version, visit=visit.number)

    def _has_signal(self, visit: int) -> bool:
        return visit == 3 if visit < self._flat else self._rng(visit, "signal").random() > 0.1

    def _rng(self, number: int, what: str) -> random.Random:
        return random.Random(f"{self._seed} {number} {what}")


def visit(number: int, version: int | None) -> Visit:
    task = Task(id=str(number), prompt="draw", target=None, meta={})
    return Visit(number=number, task=task, version=version)


def over(runs: Sequence[Run], max_staleness: int) -> int:
    return sum(age > max_staleness for run in runs for age in run.ages)


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("max_staleness", [0, 1, 2, 3, 4])
def test_no_group_is_ever_older_than_the_staleness_bound(max_staleness: int, groups: int, spare: int) -> None:
    runs = [Run(seed=seed, groups=groups, max_staleness=max_staleness, spare=spare) for seed in SEEDS]
    assert over(runs, max_staleness) == 0
    assert max(age for run in runs for age in run.ages) == max_staleness, "and what it allows is used"
    assert max(late for run in runs for late in run.late) == spare, "nor are more given up than are spare"
    for run in runs:
        assert len(run.ages) == 60 * groups
        assert set(run.trained.values()) == {1}


@pytest.mark.parametrize("attempts", [None, 5])
@pytest.mark.parametrize("max_staleness", [1, 2, 4])
def test_groups_that_earlier_starts_of_the_run_began_keep_the_bound_too(
    max_staleness: int, attempts: int | None
) -> None:
    runs = [
        Run(seed=seed, groups=3, max_staleness=max_staleness, start_again_every=4, attempts=attempts) for seed in SEEDS
    ]
    assert over(runs, max_staleness) == 0
    assert max(age for run in runs for age in run.ages) == max_staleness
    for run in runs:
        assert len(run.ages) == 60 * 3


@pytest.mark.parametrize("spare", [0, 2])
@pytest.mark.parametrize("max_staleness", [0, 1, 2, 3])
def test_a_step_that_found_too_few_groups_with_signal_leaves_the_bound_as_it_is(max_staleness: int, spare: int) -> None:
    flat = 6 * 4 + 4 * (max_staleness + 1) + spare
    runs = [Run(seed=seed, groups=4, max_staleness=max_staleness, spare=spare, flat=flat, steps=20) for seed in SEEDS]
    assert over(runs, max_staleness) == 0
    assert max(late for run in runs for late in run.late) <= spare
    assert max(len(run.ages) for run in runs) < 20 * 4, "the first step took fewer than four"
