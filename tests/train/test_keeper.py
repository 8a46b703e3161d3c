"""A process that hung and was taken over finds that out before it writes anything."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from gen_searcher.errors import LeaseLost
from gen_searcher.ledger.book import Ledger
from gen_searcher.points import Point, heard_by
from gen_searcher.testing.toy_training import NoRival, ToyAttempts, ToyLearner
from gen_searcher.train.run import RunFolder
from tests.train.toy_run import toy_rules, toy_training


def take_over(folder: RunFolder) -> None:
    """As another process does to one that shows no sign of life."""
    shutil.copy(folder.leases / "00000001.json", folder.leases / "00000002.json")


def steps_on_record(folder: RunFolder) -> set[int]:
    return {json.loads(line)["step"] for line in folder.attempts.read_text().splitlines()}


class TakenOverAtPublish(ToyAttempts):
    """The process hangs while it publishes step 3."""

    def __init__(self, learner: ToyLearner, folder: RunFolder) -> None:
        super().__init__(learner, latency_s=0.001)
        publish = learner.publish

        async def hang(version: int) -> None:
            await publish(version)
            if version == 3:
                take_over(folder)

        learner.publish = hang


@pytest.mark.fault(7)
def test_a_process_that_was_taken_over_during_a_step_neither_publishes_nor_records_it(tmp_path: Path) -> None:
    folder, learners, stepped = RunFolder(root=tmp_path), list[ToyLearner](), list[Point]()

    def own(learner: ToyLearner) -> ToyAttempts:
        learners.append(learner)
        return ToyAttempts(learner, latency_s=0.001)

    def hangs(point: Point) -> None:
        if point is Point.LEARNER_STEPPED:
            stepped.append(point)
            if len(stepped) == 3:
                take_over(folder)

    run = toy_training(tmp_path, toy_rules(steps=6, max_staleness=0), own, checkpoint_every_steps=1)
    with heard_by(hangs), pytest.raises(LeaseLost, match="has taken over"):
        asyncio.run(run)
    assert learners[0].version == 2, "the board is the other one's"
    assert steps_on_record(folder) == {1, 2}


def test_a_process_that_was_taken_over_while_it_published_records_nothing_more(tmp_path: Path) -> None:
    folder = RunFolder(root=tmp_path)
    run = toy_training(
        tmp_path,
        toy_rules(steps=6, max_staleness=0),
        lambda learner: TakenOverAtPublish(learner, folder),
        checkpoint_every_steps=1,
    )
    with pytest.raises(LeaseLost, match="has taken over"):
        asyncio.run(run)
    assert steps_on_record(folder) == {1, 2}
    with closing(Ledger.open(folder.ledger, fence=NoRival())) as ledger:
        assert ledger.booked(2) is not None
        assert ledger.booked(3) is None
