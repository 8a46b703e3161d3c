"""Real Ray actors that join, leave, die for good and are replaced while calls go on."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle
from ray.exceptions import RaySystemError, RayTaskError

from gen_searcher.cluster.draining import draining_nodes
from gen_searcher.cluster.foreman import Foreman
from gen_searcher.cluster.named import NamedTools
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.upkeep import Upkeep
from gen_searcher.errors import ActorGone, WorkersGone
from gen_searcher.metrics.values import Sum
from gen_searcher.tools.meter import Reading

pytestmark = pytest.mark.usefixtures("local_ray")


class Worker:
    """Says who it is; waits or dies on request; is ready when `gate` is a file."""

    def __init__(self, name: str, gate: str = "") -> None:
        self.name = name
        self.gate = Path(gate)
        self.told: object = None
        self.asked = 0

    async def ready(self, told: object = None) -> bool:
        self.asked += 1
        while not self.gate.exists():  # noqa: ASYNC110 - the test, another process, makes it
            await asyncio.sleep(0.02)
        self.told = told
        return True

    async def heard(self) -> object:
        return self.told

    async def who(self) -> str:
        return self.name

    async def who_after(self, gate: str) -> str:
        while not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 - as above
            await asyncio.sleep(0.02)
        return self.name

    async def die(self) -> None:
        os._exit(1)

    async def retire(self) -> Reading:
        return {f"{self.name}/calls": Sum(total=1.0)}


def raised(name: str, *, gate: Path = Path()) -> ActorHandle:
    remote = ray.remote(num_cpus=0.01, max_restarts=0)(Worker)
    return cast("ActorHandle", remote.options(name=name, max_concurrency=10).remote(name, str(gate)))


def pool_of(role: str, workers: int, *, restarts: int = 1, gate: Callable[[int], Path] = lambda _: Path()) -> Pool:
    """Names are `role-number-generation`."""
    generations: dict[int, int] = {}

    def one(number: int) -> ActorHandle:
        generations[number] = generations.get(number, -1) + 1
        return raised(f"{role}-{number}-{generations[number]}", gate=gate(number))

    async def raise_actor(number: int) -> ActorHandle:
        return one(number)

    upkeep = Upkeep(raise_actor=raise_actor, restarts=restarts, window_s=3600.0, ready_s=60.0)
    return Pool(role, [one(n) for n in range(workers)], stage=role, wraps_plugs=True, upkeep=upkeep)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not holds():  # noqa: ASYNC110 - what actors do in their own time
            await asyncio.sleep(0.02)


async def test_a_worker_serves_once_it_is_ready_and_one_that_leaves_finishes_its_calls(tmp_path: Path) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    pool = pool_of("r", 1, gate=lambda number: gate if number else Path())
    assert await pool.add() == 1
    assert (pool.members, pool.healthy) == ((0, 1), (0,))
    assert {await pool.call("who") for _ in range(3)} == {"r-0-0"}
    gate.touch()
    await until(lambda: pool.healthy == (0, 1))
    slow = [asyncio.ensure_future(pool.call("who_after", str(done))) for _ in range(2)]
    await asyncio.sleep(0)
    leaving = pool.leave(0)
    dismissed = asyncio.ensure_future(pool.dismiss(leaving))
    assert {await pool.call("who") for _ in range(3)} == {"r-1-0"}
    assert not dismissed.done()
    done.touch()
    assert sorted(str(name) for name in await asyncio.gather(*slow)) == ["r-0-0", "r-1-0"]
    assert await dismissed == {"r-0-0/calls": Sum(total=1.0)}
    assert leaving.watch.served == 4
    with pytest.raises(ActorGone, match="r actor 0 has left"):
        await pool.call_on(0, "who")
    pool.stop()


@pytest.mark.slow
async def test_what_is_new_is_known_by_one_that_joins_at_that_moment_before_it_serves(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    said = ["old"]
    upkeep = Upkeep(raise_actor=lambda _: asyncio.sleep(0, raised("late", gate=gate)), ready_s=60.0)
    pool = Pool("r", [raised("early")], stage="r", wraps_plugs=True, upkeep=upkeep, greeting=lambda: (said[0],))
    await pool.add()
    await asyncio.sleep(0.2)  # long enough that it was asked with what is old
    said[0] = "new"
    await pool.ready_again()
    assert await pool.call_on(0, "heard") == "new"
    gate.touch()
    await until(lambda: pool.healthy == (0, 1))
    assert await pool.call_on(1, "heard") == "new"
    pool.stop()


@pytest.mark.fault(17)
@pytest.mark.slow
async def test_a_worker_that_is_out_of_restarts_is_replaced_until_it_has_died_too_often() -> None:
    pool = pool_of("r", 1, restarts=1)
    assert await pool.call("who") == "r-0-0"
    with pytest.raises(ActorGone):
        await pool.call("die")
    assert await pool.call("who") == "r-0-1"
    with pytest.raises(ActorGone):
        await pool.call("die")
    with pytest.raises(WorkersGone, match=r"each is dead and out of restarts.*cluster.restarts") as caught:
        await pool.call("who")
    assert caught.value.exit_code == 3
    pool.stop()


@asynccontextmanager
async def run_of(
    pools: dict[str, Pool],
    scale: Path,
    *,
    draining: Callable[[], frozenset[str]] = draining_nodes,
    learner_nodes: frozenset[str] = frozenset(),
    on_learner_leaves: Callable[[], None] = lambda: None,
) -> AsyncIterator[Foreman]:
    """A foreman at work for the length of the block."""
    tools = pools["tool"]
    foreman = Foreman(
        pools,
        scale_file=scale,
        names=lambda: {n: f"tool-{n}-0" for n in tools.healthy},
        learner_nodes=learner_nodes,
        on_learner_leaves=on_learner_leaves,
        draining=draining,
        every_s=0.05,
    )
    over = asyncio.Event()
    working = asyncio.ensure_future(foreman.beside(over.wait()))
    try:
        yield foreman
        assert not working.done()
    finally:
        over.set()
        await working
        for pool in pools.values():
            pool.stop()


async def test_roles_follow_the_file_and_what_is_wrong_in_it_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scale = tmp_path / "scale.json"
    pools = {"rollout": pool_of("rollout", 1), "tool": pool_of("tool", 1)}
    async with run_of(pools, scale) as foreman:
        scale.write_text('{"rollout_workers": 2}')
        await until(lambda: foreman.workers() == {"cluster/rollout_workers": 2.0, "cluster/tool_workers": 1.0})
        scale.write_text('{"rollout_workers": 0, "rolout_workers": 3}')
        await until(lambda: "nothing is changed" in caplog.text)
        assert "rollout_workers: found 0" in caplog.text
        assert "did you mean rollout_workers" in caplog.text
        assert len(pools["rollout"].members) == 2
        scale.write_text('{"rollout_workers": 1, "tool_workers": 2}')
        await until(lambda: foreman.workers() == {"cluster/rollout_workers": 1.0, "cluster/tool_workers": 2.0})
        assert pools["rollout"].members == (0,), "the youngest leaves first"
        words: list[Reading] = []
        await until(lambda: bool(words.extend(foreman.last_words()) or words))
        assert words == [{"rollout-1-0/calls": Sum(total=1.0)}]


async def test_a_file_that_is_no_text_is_said_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scale = tmp_path / "scale.json"
    scale.write_bytes(b'{"rollout_workers": 2}\xff')
    looked: list[None] = []

    def draining() -> frozenset[str]:
        looked.append(None)
        return frozenset()

    pools = {"rollout": pool_of("rollout", 1), "tool": pool_of("tool", 1)}
    async with run_of(pools, scale, draining=draining):
        await until(lambda: len(looked) >= 4)
        assert caplog.text.count("nothing is changed") == 1
        assert "scale.json is not UTF-8" in caplog.text
        scale.write_text('{"rollout_workers": 2}')
        await until(lambda: pools["rollout"].members == (0, 1))


async def test_a_worker_that_cannot_be_raised_at_this_look_is_raised_at_a_later_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = tmp_path / "scale.json"
    scale.write_text('{"rollout_workers": 2}')
    pools = {"rollout": pool_of("rollout", 1), "tool": pool_of("tool", 1)}
    answers = [RaySystemError("the head restarts")]
    raised_one = pools["rollout"].add

    async def add() -> int:
        if answers:
            raise answers.pop()
        return await raised_one()

    monkeypatch.setattr(pools["rollout"], "add", add)
    async with run_of(pools, scale):
        await until(lambda: pools["rollout"].members == (0, 1))
    assert caplog.text.count("nobody joins or leaves at this look") == 1


async def test_a_tool_worker_leaves_and_is_told_of_at_a_later_look_when_it_could_not_be_told_of_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = tmp_path / "scale.json"
    scale.write_text('{"tool_workers": 1}')
    pools = {"rollout": pool_of("rollout", 1), "tool": pool_of("tool", 2)}
    failures: list[Exception] = [
        RaySystemError("the head restarts"),
        RayTaskError("ready", "its traceback", RaySystemError("the head restarts")),
    ]
    told: list[tuple[int, ...]] = []

    async def ready_again() -> None:
        if failures:
            raise failures.pop()
        told.append(pools["tool"].healthy)

    monkeypatch.setattr(pools["rollout"], "ready_again", ready_again)
    async with run_of(pools, scale) as foreman:
        words: list[Reading] = []
        await until(lambda: bool(words.extend(foreman.last_words()) or words))
        assert words == [{"tool-1-0/calls": Sum(total=1.0)}]
        await until(lambda: bool(told))
    assert told == [(0,)]


async def test_a_bug_in_a_worker_ends_the_run_and_is_no_trouble_of_the_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = {"rollout": pool_of("rollout", 1), "tool": pool_of("tool", 1)}

    async def add() -> int:
        raise RayTaskError("ready", "its traceback", KeyError("planted"))

    monkeypatch.setattr(pools["rollout"], "add", add)
    scale = tmp_path / "scale.json"
    scale.write_text('{"rollout_workers": 2}')
    foreman = Foreman(pools, scale_file=scale, names=dict[int, str], every_s=0.05)
    with pytest.raises(RayTaskError):
        await foreman.beside(asyncio.Event().wait())
    for pool in pools.values():
        pool.stop()


@pytest.mark.slow
async def test_rollout_workers_hear_of_new_tool_workers_and_of_those_that_leave(
    tmp_path: Path,
) -> None:
    tools = pool_of("tool", 1)
    names = {0: "tool-0-0"}
    upkeep = Upkeep(raise_actor=lambda _: asyncio.sleep(0, None))
    rollouts = Pool(
        "rollout", [raised("agent")], stage="r", wraps_plugs=True, upkeep=upkeep,
        greeting=lambda: ({n: f"tool-{n}-0" for n in tools.healthy},),
    )  # fmt: skip
    seen = NamedTools(names, ready_s=60.0)
    seen.follow(None)
    assert await seen.pool.call("who", sticky=1) == "tool-0-0"
    scale = tmp_path / "scale.json"
    async with run_of({"rollout": rollouts, "tool": tools}, scale):
        scale.write_text('{"tool_workers": 2}')
        await until(lambda: tools.healthy == (0, 1))
        async with asyncio.timeout(60):
            while await rollouts.call_on(0, "heard") != {0: "tool-0-0", 1: "tool-1-0"}:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        seen.follow({0: "tool-0-0", 1: "tool-1-0"})
        went = {await seen.pool.call("who", sticky=key) for key in range(12)}
        assert went == {"tool-0-0", "tool-1-0"}
        seen.follow({1: "tool-1-0", 2: "nobody"})
        assert {await seen.pool.call("who", sticky=key) for key in range(12)} == {"tool-1-0"}


@pytest.mark.slow
async def test_workers_leave_a_draining_node_and_a_learner_on_it_ends_the_run(
    tmp_path: Path,
) -> None:
    assert draining_nodes() == frozenset()
    here = str(ray.nodes()[0]["NodeID"])
    drains = [frozenset({here}), frozenset[str]()]
    told: list[str] = []

    def draining() -> frozenset[str]:
        return drains.pop(0) if len(drains) > 1 else drains[0]

    pools = {"rollout": pool_of("rollout", 2), "tool": pool_of("tool", 1)}
    async with run_of(
        pools,
        tmp_path / "scale.json",
        draining=draining,
        learner_nodes=frozenset({here}),
        on_learner_leaves=lambda: told.append("learner"),
    ):
        await until(lambda: (pools["rollout"].healthy, pools["tool"].healthy) == ((2, 3), (1,)))
    assert told == ["learner"]
