"""The planted faults, and that they are the world's and never a score."""

from __future__ import annotations

from functools import partial

import pytest

from gen_searcher.config.rewards import RewardConfig
from gen_searcher.errors import GeneratorError, JudgeError, ProviderError
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.testing.fake_tools import FakeTools
from gen_searcher.testing.faults import FlakyGenerator, FlakyJudge, FlakyTools, share_of_calls
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.types import Grounding, ImageRef, Outcome, Task, ToolCall, ToolResult, Trajectory

TASK = Task(id="t", prompt="p", target=None, meta={})
GROUNDING = Grounding(gen_prompt="p", references=())
TRAJECTORY = Trajectory(task_id="t", turns=(), outcome=Outcome.GROUNDED, grounding=GROUNDING)
PICTURE = ImageRef(sha256="0" * 64, width_px=8, height_px=8)


class OneTrajectory:
    async def search(self, task: Task, *, seed: int) -> Trajectory:
        return TRAJECTORY


class OnePicture:
    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return PICTURE


def test_an_outage_has_exactly_its_share_of_the_calls_and_the_seed_picks_them() -> None:
    assert [len(share_of_calls(frac, calls=20, seed=1)) for frac in (0.0, 0.1, 0.5, 1.0)] == [0, 2, 10, 20]
    assert share_of_calls(0.5, calls=20, seed=1) == share_of_calls(0.5, calls=20, seed=1)
    assert share_of_calls(0.5, calls=20, seed=1) != share_of_calls(0.5, calls=20, seed=2)
    assert share_of_calls(1.0, calls=3, seed=1) == {1, 2, 3}


async def test_a_flaky_judge_raises_at_the_chosen_calls_only() -> None:
    judge = FlakyJudge(FakeJudge(scores={"t": 0.7}), fail_on=[2])
    assert (await judge.judge(TASK, TRAJECTORY, PICTURE)).score == 0.7
    with pytest.raises(JudgeError, match="planted fault at call 2"):
        await judge.judge(TASK, TRAJECTORY, PICTURE)
    assert (await judge.judge(TASK, TRAJECTORY, PICTURE)).score == 0.7
    assert (judge.name, judge.schedule.calls) == ("image", 3)


async def test_a_flaky_generator_and_flaky_tools_raise_their_own_errors() -> None:
    generator = FlakyGenerator(OnePicture(), fail_on=[1])
    with pytest.raises(GeneratorError) as lost:
        await generator.generate(GROUNDING, seed=0)
    assert lost.value.stage == "generate"
    assert await generator.generate(GROUNDING, seed=0) == PICTURE
    tools = FlakyTools(FakeTools({"search": [ToolResult(text="found")]}), fail_on=[1])
    call = ToolCall(name="search", arguments={})
    with pytest.raises(ProviderError) as down:
        await tools.call(call, trajectory_id="x")
    assert down.value.stage == "search"
    assert (await tools.call(call, trajectory_id="x")).text == "found"


async def test_a_fake_judge_says_that_it_is_one_and_has_no_default() -> None:
    judge = FakeJudge(name="text", scores={"t": 0.25})
    verdict = await judge.judge(TASK, TRAJECTORY, None)
    assert (verdict.judge, verdict.score, verdict.model) == ("text", 0.25, "fake")
    with pytest.raises(KeyError):
        await judge.judge(Task(id="other", prompt="p", target=None, meta={}), TRAJECTORY, None)


async def test_in_a_group_every_planted_fault_is_lost_tried_again_and_scored_once() -> None:
    judge = FlakyJudge(FakeJudge(scores={"t": 0.7}), fail_on=[1, 3])
    generator = FlakyGenerator(OnePicture(), fail_on=[2])
    attempt = partial(
        run_attempt,
        searcher=OneTrajectory(),
        generator=generator,
        judges=[judge],
        compose=partial(compose, rules=RewardConfig(alpha=0.0)),
    )
    group = await run_group(TASK, seed=1, version=0, rules=GroupRules(size=3), attempt=attempt)
    assert group.rewards == (0.7, 0.7, 0.7)
    assert sorted(lost.stage for lost in group.lost) == ["generate", "judge", "judge"]
    assert len({attempt.seed for attempt in group.attempts}) == 3


async def test_a_member_that_stays_lost_has_no_reward_at_all() -> None:
    judge = FlakyJudge(FakeJudge(scores={"t": 0.7}), fail_on=range(1, 100))
    attempt = partial(
        run_attempt,
        searcher=OneTrajectory(),
        generator=OnePicture(),
        judges=[judge],
        compose=partial(compose, rules=RewardConfig(alpha=0.0)),
    )
    group = await run_group(TASK, seed=1, version=0, rules=GroupRules(size=2, tries=3), attempt=attempt)
    assert group.rewards == ()
    assert len(group.lost) == 6
