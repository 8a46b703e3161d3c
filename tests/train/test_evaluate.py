"""Evaluation: the tasks' order, and what an error that ends the run leaves behind: nothing that still buys."""

from __future__ import annotations

import asyncio

import pytest

from gen_searcher.errors import BudgetSpent, GeneratorError
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.evaluate import DirectSearcher, evaluate
from gen_searcher.types import Attempt, Group, Reward, Task

TASKS = [Task(id=str(number), prompt=f"p{number}", target=None, meta={}) for number in range(4)]
RULES = GroupRules(size=1, tries=2)


async def attempt(task: Task, *, seed: int) -> Attempt:
    trajectory = await DirectSearcher().search(task, seed=seed)
    reward = Reward(total=float(task.id), parts={})
    return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=reward)


async def test_groups_come_in_the_order_of_the_tasks_whoever_ends_first() -> None:
    ended: list[str] = []
    waits = {"0": asyncio.Event()}

    async def slow_first(task: Task, *, seed: int) -> Attempt:
        if task.id == "0":
            await waits["0"].wait()
        if task.id == "3":
            waits["0"].set()
        return await attempt(task, seed=seed)

    def on_group(group: Group) -> None:
        ended.append(group.task.id)

    found = await evaluate(TASKS, attempt=slow_first, rules=RULES, concurrency=4, seed=0, on_group=on_group)
    assert [group.rewards for group in found] == [(0.0,), (1.0,), (2.0,), (3.0,)]
    assert ended[-1] == "0"


async def test_a_spent_budget_stops_the_attempts_that_are_under_way() -> None:
    started, begun, stopped = asyncio.Event(), list[str](), list[str]()

    async def spends(task: Task, *, seed: int) -> Attempt:
        del seed
        if task.id == "1":
            await started.wait()
            raise BudgetSpent("nothing is left")
        started.set()
        begun.append(task.id)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(task.id)
        raise AssertionError("waits for ever")

    with pytest.raises(BudgetSpent):
        await evaluate(TASKS, attempt=spends, rules=RULES, concurrency=3, seed=0, on_group=lambda group: None)
    assert {"0", "2"} <= set(begun)
    assert sorted(stopped) == sorted(begun), "all that was under way had been stopped when the error arrived"


async def test_what_the_world_spoils_is_tried_again_and_then_recorded() -> None:
    async def fails(task: Task, *, seed: int) -> Attempt:
        if task.id == "2":
            raise GeneratorError("no power")
        return await attempt(task, seed=seed)

    found = await evaluate(TASKS, attempt=fails, rules=RULES, concurrency=2, seed=0, on_group=lambda group: None)
    assert [len(group.attempts) for group in found] == [1, 1, 0, 1]
    assert [lost.error for lost in found[2].lost] == ["no power"] * 2
