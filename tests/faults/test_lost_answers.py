"""A rollout that was finished and never heard of: it is made once more from the same seed, and counted once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import yaml

from gen_searcher.errors import ActorGone
from gen_searcher.points import Point
from gen_searcher.testing.fault_plan import times_passed
from gen_searcher.testing.toy_training import ToyAttempts, ToyLearner
from gen_searcher.types import Attempt, Task
from tests.faults.invariants import Accounts, check_run, check_same
from tests.faults.ray_run import Driver
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_rules, toy_run, toy_training

STEPS = 6
INHERITED = os.environ  # noqa: TID251 - a child process inherits it; nothing here is configured by it


class LosesAnswers:
    """An `AttemptRunner`: every so many attempts are made, and the worker is gone before it can say so."""

    def __init__(self, learner: ToyLearner, *, every: int) -> None:
        self._attempts = ToyAttempts(learner, latency_s=0.0)
        self._every = every
        self.lost: set[int] = set()

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        made = await self._attempts(task, seed=seed)
        if self._attempts.made % self._every == 0 and seed not in self.lost:
            self.lost.add(seed)
            raise ActorGone("rollout actor 0 is gone")
        return made


def check(root: Path) -> Accounts:
    return check_run(root, steps=STEPS, group_size=GROUP_SIZE, groups_per_step=GROUPS_PER_STEP)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    toy_run(root, steps=STEPS)
    return root


@pytest.mark.fault(2)
def test_a_lost_answer_is_made_again_under_its_own_seed_and_changes_nothing(tmp_path: Path, whole: Path) -> None:
    losing: list[LosesAnswers] = []

    def attempts(learner: ToyLearner) -> LosesAnswers:
        losing.append(LosesAnswers(learner, every=3))
        return losing[0]

    asyncio.run(
        toy_training(tmp_path, toy_rules(steps=STEPS, max_staleness=0, tries=3), attempts, checkpoint_every_steps=2)
    )
    found = check(tmp_path)
    check_same(found, check(whole))
    assert len(losing[0].lost) > STEPS
    assert found.lost_tries >= len(losing[0].lost), "each is on record"
    assert (tmp_path / "weights.json").read_text() == (whole / "weights.json").read_text()


@pytest.mark.fault(2)
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_workers_killed_between_finishing_and_answering_change_nothing(tmp_path: Path, whole: Path) -> None:
    plan = tmp_path / "plan.yaml"
    kills = [5, 20, 30]
    plan.write_text(yaml.safe_dump([{"point": "rollout.finished", "time": time, "kind": "kill"} for time in kills]))
    follows = {"_target_": "gen_searcher.testing.fault_plan.FaultPlan", "path": str(plan)}
    driver = Driver(tmp_path, INHERITED, steps=STEPS, address="local", workers=2, listener=follows)
    assert driver.exit_code() == 0, driver.said
    found = check(driver.root)
    check_same(found, check(whole))
    assert found.lost_tries >= len(kills)
    assert times_passed(plan)[Point.ROLLOUT_FINISHED] > kills[-1]
    assert (driver.root / "weights.json").read_text() == (whole / "weights.json").read_text()
