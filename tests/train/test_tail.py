"""Groups whose last members are given up."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from gen_searcher.config.grpo import GrpoConfig
from gen_searcher.errors import JudgeGone
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.attempt import GroupRules, member_seeds, run_group
from gen_searcher.train.tail import TailRules, gathered
from gen_searcher.types import Attempt, Group, Outcome, Reward, Task, Trajectory

TASK = Task(id="t", prompt="draw", target=None, meta={})


def run(latencies_s: list[float], tail: TailRules | None) -> tuple[Group, float]:
    """A group whose members take so long, and when it ended."""
    rules = GroupRules(size=len(latencies_s), tail=tail, deadline_s=1e6)
    took_s = dict(zip(member_seeds(0, rules=rules), latencies_s, strict=True))

    async def attempt(task: Task, *, seed: int) -> Attempt:
        await asyncio.sleep(took_s[seed])
        trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.MALFORMED, grounding=None)
        return Attempt(
            trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=took_s[seed], parts={})
        )

    async def scene() -> tuple[Group, float]:
        group = await run_group(TASK, seed=0, version=0, rules=rules, attempt=attempt)
        return group, asyncio.get_running_loop().time()

    return run_virtually(scene())


def test_the_last_members_get_only_so_much_longer_than_most() -> None:
    group, ended_s = run([9.0, 1.0, 500.0, 2.0, 12.0], TailRules(members=3, wait_s=5.0))
    assert ended_s == pytest.approx(14.0), "three had ended at 9 s, and the others had 5 s more"
    assert group.rewards == (9.0, 1.0, 2.0, 12.0)
    assert [lost.stage for lost in group.lost] == ["cut_off"]
    assert group.given_up == (), "what we cut off ourselves is no sign of an outage"


def test_without_rules_everybody_is_waited_for() -> None:
    group, ended_s = run([9.0, 1.0, 500.0], None)
    assert ended_s == pytest.approx(500.0)
    assert group.rewards == (9.0, 1.0, 500.0)


def test_a_group_that_ends_in_time_loses_nobody() -> None:
    group, ended_s = run([1.0, 2.0, 3.0], TailRules(members=2, wait_s=5.0))
    assert (ended_s, len(group.attempts), group.lost) == (pytest.approx(3.0), 3, ())


def test_a_cancelled_group_leaves_nothing_running() -> None:
    async def scene() -> list[str]:
        left: list[str] = []

        async def member(name: str) -> str:
            try:
                await asyncio.sleep(100.0)
            finally:
                left.append(name)
            return name

        group = asyncio.ensure_future(gathered([member("a"), member("b")], TailRules(members=1, wait_s=1.0)))
        await asyncio.sleep(1.0)
        group.cancel()
        await asyncio.gather(group, return_exceptions=True)
        return left

    assert run_virtually(scene()) == ["a", "b"]


@pytest.mark.parametrize("tail", [None, TailRules(members=3, wait_s=20.0), TailRules(members=1, wait_s=20.0)])
def test_when_one_member_ends_the_run_the_others_are_stopped_before_the_error_leaves_the_group(
    tail: TailRules | None,
) -> None:
    bought: list[float] = []
    stopped: list[str] = []

    async def member(name: str, first_s: float) -> str:
        try:
            await asyncio.sleep(first_s)
            bought.append(asyncio.get_running_loop().time())
            await asyncio.sleep(8.0)
            bought.append(asyncio.get_running_loop().time())
        finally:
            stopped.append(name)
        return name

    async def quick() -> str:
        return "quick"

    async def last() -> str:
        await asyncio.sleep(3.0)
        raise JudgeGone("its model is retired")

    async def scene() -> tuple[float, list[str]]:
        with pytest.raises(JudgeGone):
            await gathered([member("a", 1.0), quick(), last(), member("b", 4.0)], tail)
        ended_s, before = asyncio.get_running_loop().time(), sorted(stopped)
        await asyncio.sleep(60.0)
        return ended_s, before

    ended_s, before = run_virtually(scene())
    assert ended_s == pytest.approx(3.0), "at once, whatever the others still have"
    assert before == ["a", "b"]
    assert bought == [1.0], "nothing after the error"


def test_a_tail_must_leave_members_to_give_up() -> None:
    GrpoConfig.model_validate({"group_size": 4, "tail": {"members": 3, "wait_s": 1.0}})
    with pytest.raises(ValidationError, match="a group has 4 members"):
        GrpoConfig.model_validate({"group_size": 4, "tail": {"members": 4, "wait_s": 1.0}})
    with pytest.raises(ValidationError, match="wait for each other"):
        GrpoConfig.model_validate(
            {"group_size": 4, "tail": {"members": 3, "wait_s": 1.0}, "pictures": {"only_useful": True}}
        )
