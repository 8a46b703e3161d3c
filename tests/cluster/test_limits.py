"""The accounts' actor: a budget is one, whoever spends it from one run directory."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from gen_searcher.cluster.actors.limits import LimitsActor
from gen_searcher.config.limits import LimitsConfig, ProviderLimits
from gen_searcher.errors import BudgetSpent
from gen_searcher.tools.limits import Lease, Usage
from gen_searcher.tools.spend import SpendFile


def accounts(folder: Path, *, budget_usd: float) -> LimitsActor:
    """As each command has them."""
    limits = LimitsConfig(providers={"p": ProviderLimits(budget_usd=budget_usd)})
    return LimitsActor(limits, str(folder / "spend.json"))


async def exchange(actor: LimitsActor, usage: Usage, *, want: int = 4) -> Lease:
    """A request costs a dollar."""
    return await actor.exchange("p", "worker", usage, want=want, price_usd=1.0)


async def spend_all(actor: LimitsActor, *, used: int = 0) -> int:
    """Requests made until the budget is spent, `used` of the last lease not counted."""
    made = 0
    while True:
        try:
            used = (await exchange(actor, Usage(made=used))).requests
        except BudgetSpent:
            return made
        made += used


async def test_two_commands_that_take_turns_spend_the_budget_once(tmp_path: Path) -> None:
    commands = [accounts(tmp_path, budget_usd=10.0) for _ in range(2)]
    used, made = [0, 0], 0
    for turn in range(6):
        number = turn % 2
        used[number] = (await exchange(commands[number], Usage(made=used[number]), want=1)).requests
        made += used[number]
    assert made == 6
    assert sum([await spend_all(command, used=1) for command in commands]) == 10 - 6
    assert SpendFile(tmp_path / "spend.json").read() == {"p": 10.0}


async def test_what_one_command_does_not_use_the_other_may_spend(tmp_path: Path) -> None:
    first, second = (accounts(tmp_path, budget_usd=8.0) for _ in range(2))
    assert (await exchange(first, Usage())).requests == 4
    assert SpendFile(tmp_path / "spend.json").read() == {"p": 4.0}
    await exchange(first, Usage(made=1), want=0)
    assert SpendFile(tmp_path / "spend.json").read() == {"p": 1.0}
    assert await spend_all(second) == 7


async def test_a_budget_that_another_command_has_spent_is_spent(tmp_path: Path) -> None:
    late = accounts(tmp_path, budget_usd=3.0)
    assert await spend_all(accounts(tmp_path, budget_usd=3.0)) == 3
    with pytest.raises(BudgetSpent, match=r"p: 3\.0000 of 3 USD are spent"):
        await exchange(late, Usage())


def _spend(folder: Path, made: Queue[int]) -> None:
    made.put(asyncio.run(spend_all(accounts(folder, budget_usd=60.0))))


async def test_commands_at_the_same_moment_spend_the_budget_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    made: Queue[int] = context.Queue()
    commands = [context.Process(target=_spend, args=(tmp_path, made)) for _ in range(3)]
    for command in commands:
        command.start()
    spent = [await asyncio.to_thread(made.get, timeout=120) for _ in commands]
    for command in commands:
        await asyncio.to_thread(command.join, 60)
    assert sum(spent) == 60
    assert SpendFile(tmp_path / "spend.json").read() == {"p": 60.0}
