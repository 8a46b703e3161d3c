"""vLLM's own processes under a real rollout actor die while the actor lives: it is restarted like one that died."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateUsage=false, reportAttributeAccessIssue=false
# (ray and vLLM are only partly typed, and neither tells how many requests an engine has)

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from gen_searcher.cluster.actors.rollout import RolloutActor
from gen_searcher.cluster.fleet import Fleet
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import RolloutPool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.cluster.upkeep import Upkeep
from gen_searcher.cluster.watched import Method
from gen_searcher.cluster.weights import WeightBoard
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_async import AsyncEngine
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Group, Task
from tests.faults.steps import OneStored

pytestmark = [
    pytest.mark.slow,
    pytest.mark.fault(1),
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("default"),  # torch deprecates things while it is imported
]

SIZE = 2
VERSION = 3
CONFIG = PolicyConfig(
    small=SmallPolicyConfig(
        hidden=64, layers=3, heads=2, vocab=512, initializer_range=0.2, tied_embeddings=False, can_copy=False
    ),
    engine="async",
    max_context_tokens=4096,
    kv_cache_mib=64,
)
AGENT = AgentConfig(max_turns=1, max_tool_calls=0, max_context_tokens=4096, max_turn_tokens=300, prompt="brief")
JUDGES: list[Judge] = [FakeJudge(name="image", scores={"t": 0.5}), FakeJudge(name="text", scores={"t": 0.5})]


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with cluster_session(ClusterConfig(cpus=2, object_store_mib=100), run_id="engines", command="grpo"):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Of one rollout worker."""

    actor: int
    """Process id."""
    engine: int
    """Process id of its EngineCore."""
    requests: int
    """In flight."""


async def seen(pool: Pool) -> Seen:
    ask = cast("Method", pool.handles[0].__ray_call__)
    return cast("Seen", await ask.remote(look_inside))


def look_inside(actor: RolloutActor) -> Seen:
    engine = actor._parts._value[0].result().engine._engine
    assert isinstance(engine, AsyncEngine)
    manager = engine._engine.engine_core.resources.engine_manager
    assert manager is not None
    (process,) = manager.processes
    assert process.pid is not None
    return Seen(actor=os.getpid(), engine=process.pid, requests=engine._engine.get_num_unfinished_requests())


@asynccontextmanager
async def one_worker(folder: Path) -> AsyncIterator[tuple[Pool, WeightBoard]]:
    """A worker that serves version `VERSION` of a tiny policy, which is not what it starts from."""
    start = folder / "policy"
    build_small_policy(start, config=CONFIG.small, corpus=["a flag of Poland"])
    run = RunFolder(root=folder)
    fleet = Fleet(cluster=ClusterConfig(), folder=run, limits=LimitsConfig(), cassette=CassetteConfig())
    no_tools = Pool("tool", [], stage="tool", wraps_plugs=True, upkeep=Upkeep(raise_actor=nobody))
    pool = fleet.rollouts(start, CONFIG, AGENT, no_tools, max_prompt_chars=None, follows_learner=True)
    try:
        publish(fleet.board, VERSION, start)
        await pool.wait_ready()
        yield pool, fleet.board
    finally:
        pool.stop()


def publish(board: WeightBoard, version: int, start: Path) -> None:
    weights = load_file(start / "model.safetensors")
    save_file({name: tensor * (1.0 + 0.1 * version) for name, tensor in weights.items()}, board.path(version))
    board.announce(version)


async def nobody(number: int) -> None:
    del number


async def group_from(pool: Pool, folder: Path) -> Group:
    store = ImageStore(folder / "images")
    task = Task(id="t", prompt="a flag", target=store.put(Image.new("RGB", (32, 32), "blue")), meta={})
    attempt = partial(
        run_attempt,
        searcher=RolloutPool(pool),
        generator=OneStored(store),
        judges=JUDGES,
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )
    rules = GroupRules(size=SIZE, tries=2, deadline_s=300)
    return await run_group(task, seed=1, version=0, rules=rules, attempt=attempt)


def assert_served(group: Group, version: int = VERSION) -> None:
    assert len(group.attempts) == SIZE
    assert group.given_up == ()
    turns = [turn for attempt in group.attempts for turn in attempt.trajectory.turns]
    assert {version for turn in turns for version in turn.versions} == {version}


async def test_attempts_whose_engine_is_killed_are_made_again_by_the_restarted_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with one_worker(tmp_path) as (pool, _):
        before = await seen(pool)
        os.kill(before.engine, signal.SIGSTOP)  # it cannot finish anything before it is killed
        running = asyncio.ensure_future(group_from(pool, tmp_path))
        while (await seen(pool)).requests < SIZE:
            assert not running.done()
        os.kill(before.engine, signal.SIGKILL)
        group = await running
        after = await seen(pool)
        assert pool.healthy == (0,)
    assert_served(group)
    assert [lost.stage for lost in group.lost] == ["actor"] * SIZE, "each is tried twice, and no more"
    assert after.actor != before.actor
    assert "rollout actor 0 is gone; waiting for its restart: policy: the engine died" in caplog.text


async def test_an_idle_worker_whose_engine_is_killed_gets_no_attempt_before_it_is_restarted(tmp_path: Path) -> None:
    async with one_worker(tmp_path) as (pool, _):
        before = await seen(pool)
        os.kill(before.engine, signal.SIGKILL)
        while pool.healthy:
            pool.look()
            await asyncio.wait(pool._looks.values())
        group = await group_from(pool, tmp_path)
        assert (await seen(pool)).actor != before.actor
    assert_served(group)
    assert group.lost == ()


async def test_a_publish_does_not_wait_for_an_engine_that_was_killed_and_the_restarted_one_serves_what_is_new(
    tmp_path: Path,
) -> None:
    async with one_worker(tmp_path) as (pool, board):
        before = await seen(pool)
        os.kill(before.engine, signal.SIGKILL)
        publish(board, VERSION + 1, tmp_path / "policy")
        await pool.ready_again()
        assert pool.healthy == ()
        group = await group_from(pool, tmp_path)
        assert (await seen(pool)).actor != before.actor
    assert_served(group, VERSION + 1)
    assert group.lost == ()
