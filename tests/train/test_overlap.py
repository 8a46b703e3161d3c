"""What runs while the learner learns and publishes: the production loop on a virtual clock."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from gen_searcher.ledger.book import BookedStep, Ledger
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.testing.toy_training import NoRival, ToyLearner
from gen_searcher.train.grpo import GrpoParts, train
from gen_searcher.train.stream import Step
from gen_searcher.train.tasks import visits
from gen_searcher.types import Attempt, Batch, Group, Outcome, Reward, StepReport, Task, Trajectory, Turn
from tests.train.toy_run import TASKS, toy_rules

ATTEMPT_S, LEARN_S, PUBLISH_S = 10.0, 6.0, 8.0
STEPS = 8


class SlowLearner(ToyLearner):
    """Takes its time, and remembers when it did what."""

    def __init__(self) -> None:
        super().__init__()
        self.learning: list[tuple[float, float]] = []
        self.publishing: list[tuple[float, float]] = []

    async def step(self, batch: Batch) -> StepReport:
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(LEARN_S)
        self.learning.append((began_s, began_s + LEARN_S))
        return await super().step(batch)

    async def publish(self, version: int) -> None:
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(PUBLISH_S)
        self.publishing.append((began_s, began_s + PUBLISH_S))
        await super().publish(version)


class Timed:
    """Attempts of ten seconds each, and when they ran."""

    def __init__(self, learner: ToyLearner) -> None:
        self._learner = learner
        self.ran: list[tuple[float, float]] = []

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(ATTEMPT_S)
        self.ran.append((began_s, began_s + ATTEMPT_S))
        turn = Turn(prompt_ids=(1,), completion_ids=(2,), logprobs=(-0.5,), versions=(self._learner.version,))
        return Attempt(
            trajectory=Trajectory(task_id=task.id, turns=(turn,), outcome=Outcome.OUT_OF_TURNS, grounding=None),
            seed=seed,
            image=None,
            judgements=(),
            reward=Reward(total=seed / 2**31, parts={}),
        )

    def busy_s(self, spans: list[tuple[float, float]]) -> float:
        """Attempt seconds that fall into these spans."""
        return sum(max(0.0, min(end, to) - max(begin, since)) for begin, end in self.ran for since, to in spans)


class Books:
    """A `Recorder` that books steps."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.published_s: list[float] = []

    def on_group(self, group: Group) -> None:
        """The ledger has it."""

    def on_wait(self, says: str) -> None:
        raise AssertionError(says)

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        self.published_s.append(asyncio.get_running_loop().time())
        booked = BookedStep(step=step, attempts_bytes=0, metrics_bytes=0)
        rejected = {group.visit: "flat" for group in taken.dropped}
        self._ledger.book_step(booked, trained=[group.visit for group in taken.groups], rejected=rejected)

    async def before_stop(self, step: int) -> None:
        """Nothing is saved."""


@pytest.mark.parametrize(
    ("max_staleness", "step_s", "learning", "publishing"),
    [(0, ATTEMPT_S + LEARN_S + PUBLISH_S, 0.0, 0.0), (1, LEARN_S + PUBLISH_S, 1.0, 0.5)],
)
def test_attempts_go_on_through_learning_and_publishing_when_groups_may_lag(
    tmp_path: Path, max_staleness: int, step_s: float, learning: float, publishing: float
) -> None:
    """With a lag of one a step costs the learner's time alone: 14 s and not 24.

    Its nine attempts run through all 6 s of learning and the first 4 of 8 s of publishing.
    """
    learner = SlowLearner()
    timed = Timed(learner)
    with closing(Ledger.open(tmp_path / "ledger.sqlite", fence=NoRival())) as ledger:
        books = Books(ledger)
        parts = GrpoParts(attempt=timed, learner=learner, scorer=learner, recorder=books, ledger=ledger)
        order = visits(TASKS, seed=5, begun=0, pending=[])
        run_virtually(train(toy_rules(steps=STEPS, max_staleness=max_staleness), parts, order))
    steady = slice(2, STEPS)
    took_s = [after - before for before, after in pairwise(books.published_s[1:])]
    assert took_s == pytest.approx([step_s] * len(took_s))
    spans = learner.learning[steady], learner.publishing[1:][steady]
    shares = [timed.busy_s(part) / sum(to - since for since, to in part) / 9 for part in spans]
    assert shares == pytest.approx([learning, publishing])
