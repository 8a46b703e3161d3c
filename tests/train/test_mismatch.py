"""When sampler and learner disagree: who notices, what it says, and that nothing was trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.errors import UserError
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.ledger.book import Ledger
from gen_searcher.testing.toy_training import NoRival
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.grpo import GrpoParts, GrpoRules, train
from gen_searcher.train.mismatch import GAP_METRIC, MismatchError, check_step, widest
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.stream import Step, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Batch, Group, Outcome, Reward, Sample, StepReport, Task, Trajectory, Turn


def attempt(task_id: str, seed: int, *, version: int = 0, reward: float = 0.0) -> Attempt:
    """Five sampled tokens in two turns; token ids tell attempts apart."""
    turns = (
        Turn(prompt_ids=(1, 2), completion_ids=(seed, 4, 5), logprobs=(-0.5, -1.0, -1.5), versions=(version,) * 3),
        Turn(prompt_ids=(6,), completion_ids=(7, 8), logprobs=(-2.0, -2.5), versions=(version, version + 1)),
    )
    trajectory = Trajectory(task_id=task_id, turns=turns, outcome=Outcome.OUT_OF_TURNS, grounding=None)
    return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=reward, parts={}))


def task(task_id: str) -> Task:
    return Task(id=task_id, prompt="draw", target=None, meta={})


def two_groups(version: int = 0) -> list[Group]:
    return [
        Group(
            task=task(name),
            attempts=(attempt(name, 10 * n, version=version), attempt(name, 10 * n + 1, version=version)),
        )
        for n, name in enumerate(("flags", "birds"), start=1)
    ]


def scored_as_sampled(groups: list[Group]) -> tuple[list[Sample], dict[Sample, tuple[float, ...]]]:
    samples = [trajectory_sample(each.trajectory, 1.0) for group in groups for each in group.attempts]
    return samples, dict.fromkeys(samples, (-0.5, -1.0, -1.5, -2.0, -2.5))


def test_the_widest_disagreement_is_found_and_placed() -> None:
    groups = two_groups()
    samples, scored = scored_as_sampled(groups)
    scored[samples[2]] = (-0.5, -1.0, -1.5, -2.25, -2.5)
    scored[samples[1]] = (-0.5, -1.125, -1.5, -2.0, -9.5)  # the last token is another version's
    found = widest(groups, samples, scored, version=0)
    assert found is not None
    at = found.token
    assert (at.task_id, at.seed, at.turn, at.place, at.token_id) == ("birds", 20, 1, 0, 7)
    assert (at.gap_nats, at.sampled, at.learned, found.compared) == (0.25, -2.0, -2.25, 16)
    assert "task birds, attempt of seed 20, turn 1, token 0 (id 7)" in str(found)
    assert "0.25 nats apart, the most of 16 tokens" in str(found)


def test_a_log_probability_that_is_no_number_is_the_widest_disagreement() -> None:
    groups = two_groups()
    samples, scored = scored_as_sampled(groups)
    scored[samples[0]] = (-0.5, math.nan, -1.5, -2.0, -2.5)
    scored[samples[3]] = (-900.0, -1.0, -1.5, -2.0, -2.5)
    found = widest(groups, samples, scored, version=0)
    assert found is not None
    assert (found.token.seed, found.token.gap_nats) == (10, math.inf)


def test_nothing_is_compared_when_other_weights_sampled_all_of_it() -> None:
    groups = two_groups(version=3)
    samples, scored = scored_as_sampled(groups)
    assert widest(groups, samples, scored, version=0) is None


class FakeLearner:
    """A fake of both `Learner` and `Scorer`: off by `gap_nats` at one token, and remembers what it was asked."""

    def __init__(self, *, gap_nats: float = 0.0, step_gaps: Mapping[int, float] | None = None) -> None:
        self.gap_nats = gap_nats
        self.step_gaps = step_gaps or {}
        self.steps = 0
        self.scored: list[int] = []
        self.published: list[int] = []

    async def logprobs(self, batch: Batch) -> dict[Sample, tuple[float, ...]]:
        self.scored.append(self.steps)
        return {sample: (-0.5, -1.0 - self.gap_nats, -1.5, -2.0, -2.5) for row in batch.rows for sample in row}

    async def step(self, batch: Batch) -> StepReport:
        self.steps += 1
        return StepReport(loss=0.0, grad_norm=0.0, metrics={GAP_METRIC: self.step_gaps.get(self.steps, 0.0)})

    async def publish(self, version: int) -> None:
        self.published.append(version)

    async def save(self, path: Path) -> None:
        raise NotImplementedError


class Silent:
    def on_group(self, group: Group) -> None:
        """Nothing to write."""

    def on_wait(self, says: str) -> None:
        raise AssertionError(says)

    async def before_stop(self, step: int) -> None:
        raise AssertionError(step)

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        """Nothing to write."""


async def run(learner: FakeLearner, *, bound_nats: float | None, max_staleness: int = 0, steps: int = 3) -> None:
    rules = GrpoRules(
        steps=steps,
        row_tokens=64,
        objective=DEFAULT_OBJECTIVE,
        group=GroupRules(size=2),
        stream=StreamRules(
            groups_per_step=2, max_staleness=max_staleness, max_dropped=4, outage=OutageRules(max_lost_frac=0.5)
        ),
        max_gap_nats=bound_nats,
        keep=lambda _: True,
        seed=0,
    )
    rewards = count()

    async def try_once(task: Task, *, seed: int) -> Attempt:
        return attempt(task.id, seed % 1000, reward=float(next(rewards)))

    with TemporaryDirectory() as folder, closing(Ledger.open(Path(folder) / "ledger", fence=NoRival())) as ledger:
        parts = GrpoParts(attempt=try_once, learner=learner, scorer=learner, recorder=Silent(), ledger=ledger)
        await train(rules, parts, (Visit(number=number, task=task(f"t{number}")) for number in count()))


async def test_a_run_that_starts_with_a_disagreement_trains_nothing_and_says_where() -> None:
    learner = FakeLearner(gap_nats=0.75)
    with pytest.raises(UserError) as caught:
        await run(learner, bound_nats=0.001)
    assert (learner.scored, learner.steps, learner.published) == ([0], 0, [0])
    message = str(caught.value)
    assert "grpo.max_logprob_gap_nats=0.001 is exceeded before the first step" in message
    assert (
        "turn 0, token 1 (id 4) has log-probability -1 as sampled and -1.75 by the learner, 0.75 nats apart" in message
    )
    assert "agent.temperature" in message
    assert caught.value.exit_code == 2


async def test_within_the_bound_or_without_one_the_run_goes_on_and_is_probed_once() -> None:
    for gap_nats, bound_nats in ((0.75, 1.0), (0.75, None), (0.0, 0.001)):
        learner = FakeLearner(gap_nats=gap_nats)
        await run(learner, bound_nats=bound_nats)
        assert (learner.scored, learner.steps, learner.published) == ([0], 3, [0, 1, 2, 3])


@pytest.mark.parametrize("gap_nats", [0.5, math.nan])
async def test_a_synchronous_run_stops_at_the_step_that_disagrees_and_does_not_publish_it(gap_nats: float) -> None:
    learner = FakeLearner(step_gaps={2: gap_nats})
    with pytest.raises(MismatchError, match=r"is exceeded in step 2: .* nats apart \(learner/logprob_gap_max_nats\)"):
        await run(learner, bound_nats=0.001)
    assert learner.published == [0, 1]


async def test_a_run_that_trains_on_older_groups_only_probes_its_first_batch() -> None:
    learner = FakeLearner(step_gaps={2: 0.5, 3: 0.5})
    await run(learner, bound_nats=0.001, max_staleness=1)
    assert learner.published == [0, 1, 2, 3]


def test_without_a_bound_no_step_is_held_against_one() -> None:
    report = StepReport(loss=0.0, grad_norm=0.0, metrics={GAP_METRIC: 9.0})
    check_step(report, step=1, bound_nats=None)
    with pytest.raises(MismatchError):
        check_step(replace(report, metrics={GAP_METRIC: 9.0}), step=1, bound_nats=8.0)
