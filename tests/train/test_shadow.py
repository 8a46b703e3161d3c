"""Judges that watch change nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

import gen_searcher.train.shadow as shadows
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.errors import JudgeError, JudgeGone
from gen_searcher.metrics.groups import step_metrics
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.train.attempt import run_attempt
from gen_searcher.train.shadow import Shadow
from gen_searcher.types import (
    Attempt,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    StepReport,
    Task,
    Trajectory,
)

TASK = Task(id="t1", prompt="draw", target=None, meta={})
PICTURE = ImageRef(sha256="ab" * 32, width_px=8, height_px=8)


class Searcher:
    async def search(self, task: Task, *, seed: int) -> Trajectory:
        grounding = Grounding(gen_prompt="p", references=())
        return Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)


class Generator:
    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return PICTURE


class Failing:
    name = "image"

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        raise self.error


class Hanging:
    name = "image"
    cancelled = 0

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError


def judge(score: float) -> FakeJudge:
    return FakeJudge(scores={"t1": score}, name="image")


async def attempt(seed: int, shadow: Shadow | None, *, real: Judge | None = None) -> Attempt:
    return await run_attempt(
        TASK,
        seed=seed,
        searcher=Searcher(),
        generator=Generator(),
        judges=[real or judge(0.75)],
        compose=partial(compose, rules=RewardConfig(alpha=0.0)),
        shadow=shadow,
    )


async def test_what_a_watching_judge_says_is_recorded_and_never_in_the_reward() -> None:
    without = await attempt(1, None)
    watched = await attempt(1, Shadow(judges=[judge(0.25)], frac=1.0))
    assert [judgement.score for judgement in watched.shadow] == [0.25]
    assert watched.reward == without.reward
    assert replace(watched, shadow=()) == without


async def test_the_share_is_of_the_seeds_and_the_same_each_time() -> None:
    watching = Shadow(judges=[judge(0.25)], frac=0.02)
    due = [watching.is_due(TASK, seed=seed) for seed in range(5000)]
    assert 70 <= sum(due) <= 130
    assert due == [watching.is_due(TASK, seed=seed) for seed in range(5000)]
    assert (await attempt(due.index(False), watching)).shadow == ()
    assert len((await attempt(due.index(True), watching)).shadow) == 1


@pytest.mark.parametrize("error", [JudgeError("no verdict"), JudgeGone("retired")])
async def test_a_watching_judge_that_fails_costs_nothing_but_its_word(error: Exception) -> None:
    found = await attempt(1, Shadow(judges=[Failing(error), judge(0.5)], frac=1.0))
    assert [judgement.score for judgement in found.shadow] == [0.5]
    assert found.reward.total == 0.75


async def test_a_score_that_is_no_number_is_not_recorded() -> None:
    assert (await attempt(1, Shadow(judges=[judge(float("nan"))], frac=1.0))).shadow == ()


async def test_a_watching_judge_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "DEADLINE_S", 0.01)
    assert (await attempt(1, Shadow(judges=[Hanging()], frac=1.0))).shadow == ()


async def test_the_metrics_tell_how_far_the_watching_judge_is_from_the_real_one() -> None:
    near, far = [await attempt(1, Shadow(judges=[judge(score)], frac=1.0)) for score in (0.65, 0.25)]
    group = Group(task=TASK, attempts=(near, far, await attempt(1, None)))
    values = step_metrics([group], [], StepReport(loss=0.0, grad_norm=0.0, metrics={}))
    assert values["shadow/image_gap"] == pytest.approx(0.3)
    assert values["shadow/image_count"] == 2
    assert values["image/score"] == pytest.approx(0.75), "the watching judge is in no other mean"
    assert values["reward/mean"] == pytest.approx(0.75)


async def test_when_one_judge_fails_the_other_is_not_left_asking() -> None:
    hanging = Hanging()
    with pytest.raises(JudgeError):
        await run_attempt(
            TASK,
            seed=1,
            searcher=Searcher(),
            generator=Generator(),
            judges=[hanging, Failing(JudgeError("no verdict"))],
            compose=partial(compose, rules=RewardConfig()),
        )
    await asyncio.sleep(0)
    assert hanging.cancelled == 1
