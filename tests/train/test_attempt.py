"""Attempts and groups: the world's failures are lost, never scored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from gen_searcher.errors import GeneratorError, JudgeError, JudgeGone, JudgeRefused, JudgeUnable, WorldError
from gen_searcher.testing.faults import FlakyJudge
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group, score_trajectory
from gen_searcher.train.thrifty import ThriftyAttempt
from gen_searcher.types import Attempt, Grounding, ImageRef, Judgement, Outcome, Reward, Task, Trajectory

TASK = Task(id="t1", prompt="draw", target=None, meta={})
PICTURE = ImageRef(sha256="ab" * 32, width_px=8, height_px=8)


class Searcher:
    def __init__(self, outcome: Outcome = Outcome.GROUNDED) -> None:
        self.outcome = outcome

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        grounding = Grounding(gen_prompt=f"seed {seed}", references=()) if self.outcome is Outcome.GROUNDED else None
        return Trajectory(task_id=task.id, turns=(), outcome=self.outcome, grounding=grounding)


class Generator:
    calls = 0

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        self.calls += 1
        return PICTURE


class OneJudge:
    name = "image"

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        return Judgement(judge="image", score=0.75, parts={}, rationale="", model="m", prompt_sha256="", latency_s=0.0)


def compose(trajectory: Trajectory, judgements: Sequence[Judgement]) -> Reward:
    return Reward(total=sum(judgement.score for judgement in judgements), parts={})


async def test_an_attempt_is_searched_drawn_judged_and_composed() -> None:
    attempt = await run_attempt(
        TASK, seed=5, searcher=Searcher(), generator=Generator(), judges=[OneJudge(), OneJudge()], compose=compose
    )
    assert attempt.reward.total == 1.5
    assert attempt.image == PICTURE
    assert attempt.trajectory.grounding is not None
    assert attempt.trajectory.grounding.gen_prompt == "seed 5"


async def test_a_failure_of_the_policy_is_scored_without_a_picture_or_a_judge() -> None:
    generator = Generator()
    attempt = await run_attempt(
        TASK, seed=5, searcher=Searcher(Outcome.MALFORMED), generator=generator, judges=[OneJudge()], compose=compose
    )
    assert attempt.reward.total == 0.0
    assert attempt.judgements == ()
    assert generator.calls == 0


class FailingFor:
    """Fails the first `times` tries of the seeds it has not seen fail that often."""

    def __init__(self, error: WorldError, times: int) -> None:
        self.error = error
        self.times = times
        self.tries: dict[int, int] = {}

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        self.tries[seed] = self.tries.get(seed, 0) + 1
        if self.tries[seed] <= self.times:
            raise self.error
        return await run_attempt(
            task, seed=seed, searcher=Searcher(), generator=Generator(), judges=[OneJudge()], compose=compose
        )


async def test_a_lost_try_is_tried_again_with_the_same_seed_and_recorded() -> None:
    attempt = FailingFor(JudgeError("503"), times=1)
    group = await run_group(TASK, seed=9, version=3, rules=GroupRules(size=4), attempt=attempt)
    assert [a.reward.total for a in group.attempts] == [0.75] * 4
    assert [lost.stage for lost in group.lost] == ["judge"] * 4
    assert {lost.seed for lost in group.lost} == {a.seed for a in group.attempts}
    assert group.version == 3


async def test_a_member_that_stays_lost_leaves_the_group_and_never_becomes_a_zero() -> None:
    attempt = FailingFor(GeneratorError("out of memory"), times=99)
    group = await run_group(TASK, seed=9, version=0, rules=GroupRules(size=2, tries=3), attempt=attempt)
    assert group.attempts == ()
    assert group.rewards == ()
    assert [lost.error for lost in group.lost] == ["out of memory"] * 6


async def test_a_try_past_its_deadline_is_lost() -> None:
    async def hang(task: Task, *, seed: int) -> Attempt:
        await asyncio.Event().wait()
        raise AssertionError

    group = await run_group(TASK, seed=1, version=0, rules=GroupRules(size=2, tries=1, deadline_s=0.01), attempt=hang)
    assert [lost.stage for lost in group.lost] == ["deadline", "deadline"]


async def test_a_judge_that_is_gone_is_not_a_lost_attempt_but_the_end_of_the_run() -> None:
    async def retired(task: Task, *, seed: int) -> Attempt:
        raise JudgeGone("model_not_found")

    with pytest.raises(JudgeGone) as caught:
        await run_group(TASK, seed=1, version=0, rules=GroupRules(size=2), attempt=retired)
    assert caught.value.exit_code == 3


async def test_a_bug_is_not_a_lost_attempt() -> None:
    async def bug(task: Task, *, seed: int) -> Attempt:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        await run_group(TASK, seed=1, version=0, rules=GroupRules(size=2), attempt=bug)


@pytest.mark.parametrize("error", [JudgeRefused("not this picture"), JudgeUnable("status 400")])
async def test_a_request_that_can_never_be_served_is_tried_once_and_not_scored(error: WorldError) -> None:
    attempt = FailingFor(error, times=99)
    group = await run_group(TASK, seed=9, version=0, rules=GroupRules(size=2, tries=3), attempt=attempt)
    assert [(lost.stage, lost.passes) for lost in group.lost] == [("judge", False)] * 2
    assert len(group.hopeless) == len(group.given_up) == 2
    assert group.attempts == ()


async def test_a_later_run_of_a_group_makes_only_what_was_lost_and_keeps_the_order() -> None:
    rules = GroupRules(size=4, tries=1)
    whole = await run_group(TASK, seed=9, version=3, rules=rules, attempt=FailingFor(JudgeError("503"), times=0))
    seeds = [attempt.seed for attempt in whole.attempts]
    attempt = FailingFor(JudgeError("503"), times=0)
    attempt.tries = {seeds[0]: 1, seeds[2]: 1}  # these two are past their failure
    attempt.times = 1
    short = await run_group(TASK, seed=9, version=3, rules=rules, attempt=attempt)
    assert [member.seed for member in short.attempts] == [seeds[0], seeds[2]]
    assert short.given_up == (seeds[1], seeds[3])
    attempt.tries.clear()
    attempt.times = 0
    mended = await run_group(TASK, seed=9, version=3, rules=rules, attempt=attempt, earlier=short)
    assert mended.attempts == whole.attempts
    assert mended.lost == short.lost
    assert mended.given_up == ()
    assert set(attempt.tries) == {seeds[1], seeds[3]}


async def test_what_was_lost_without_hope_is_not_tried_again() -> None:
    rules = GroupRules(size=2, tries=1)
    refused = await run_group(TASK, seed=9, version=0, rules=rules, attempt=FailingFor(JudgeRefused("no"), times=9))
    attempt = FailingFor(JudgeError("503"), times=0)
    again = await run_group(TASK, seed=9, version=0, rules=rules, attempt=attempt, earlier=refused)
    assert (again.attempts, attempt.tries) == ((), {})


async def test_a_try_that_lost_its_verdict_leaves_its_search_to_the_next_one() -> None:
    class Counts(Searcher):
        searches = 0

        async def search(self, task: Task, *, seed: int) -> Trajectory:
            self.searches += 1
            return await super().search(task, seed=seed)

    searcher = Counts()
    judge = FlakyJudge(OneJudge(), fail_on=[1, 2])
    attempt = ThriftyAttempt(
        searcher, partial(score_trajectory, generator=Generator(), judges=[judge], compose=compose)
    )
    group = await run_group(TASK, seed=9, version=0, rules=GroupRules(size=1, tries=3), attempt=attempt)
    assert group.rewards == (0.75,)
    assert len(group.lost) == 2
    assert searcher.searches == 1
    await attempt(TASK, seed=group.attempts[0].seed)
    assert searcher.searches == 2, "nothing is kept of an attempt that was scored"
