"""Real Ray actors that die or hang with work in flight: replaced, asked once more, and nothing is made up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import ray
from PIL import Image
from ray.actor import ActorHandle

from gen_searcher.cluster.fleet import Fleet
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import GeneratorPool, JudgePool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.engines.hosted.server import GeneratorServer
from gen_searcher.errors import WorkersGone, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Generator, Judge
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.evaluate import DirectSearcher
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Group, Task
from tests.faults.fragile import BuiltLate
from tests.faults.steps import OneStored

RESTARTS = ClusterConfig().restarts


pytestmark = pytest.mark.usefixtures("local_ray")

SCORES = 32


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    with cluster_session(ClusterConfig(cpus=2, object_store_mib=100), run_id="faults", command="grpo"):
        yield


@asynccontextmanager
async def closing(pool: Pool) -> AsyncIterator[Pool]:
    try:
        await pool.wait_ready()
        yield pool
    finally:
        pool.stop()


def fleet(folder: Path, *, hang_s: float = 300.0) -> Fleet:
    return Fleet(
        cluster=ClusterConfig(hang_s=hang_s),
        folder=RunFolder(root=folder),
        limits=LimitsConfig(),
        cassette=CassetteConfig(),
    )


def plug(target: str, **keywords: object) -> Plug:
    return Plug.model_validate({"_target_": target, **keywords})


class HoldsFirst(FakeImageModel):
    """Behind a server: keeps its first requests waiting for ever, and draws the later ones."""

    def __init__(self, held: int) -> None:
        super().__init__()
        self.held = held
        self.asked = 0
        self.all_held = asyncio.Event()

    async def draw(self, prompt: str, references: object, *, seed: int) -> Image.Image:
        self.asked += 1
        if self.asked == self.held:
            self.all_held.set()
        if self.asked <= self.held:
            await asyncio.Event().wait()
        return await super().draw(prompt, (), seed=seed)


async def group_of(task: Task, *, size: int, generator: Generator, judges: list[Judge], tries: int = 1) -> Group:
    attempt = partial(
        run_attempt,
        searcher=DirectSearcher(),
        generator=generator,
        judges=judges,
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )
    return await run_group(
        task, seed=1, version=0, rules=GroupRules(size=size, tries=tries, deadline_s=100), attempt=attempt
    )


JUDGES: list[Judge] = [FakeJudge(name="image", scores={"t": 0.5}), FakeJudge(name="text", scores={"t": 0.5})]
TASK = Task(id="t", prompt="a flag", target=None, meta={})


@pytest.mark.fault(11)
@pytest.mark.slow
@pytest.mark.parametrize("way", ["dies", "hangs"])
async def test_a_generator_that_dies_or_hangs_is_replaced_and_its_drawings_are_asked_for_once_more(
    tmp_path: Path, way: str
) -> None:
    model = HoldsFirst(held=2)
    server = GeneratorServer(model)
    target = "gen_searcher.engines.hosted.reference.ReferenceService"
    generators = fleet(tmp_path, hang_s=3 if way == "hangs" else 300)
    try:
        async with closing(generators.generators(plug(target, url=await server.start()))) as pool:
            running = asyncio.ensure_future(group_of(TASK, size=2, generator=GeneratorPool(pool), judges=JUDGES))
            await model.all_held.wait()
            if way == "dies":
                ray.kill(pool.handles[0], no_restart=False)
            group = await running
            assert pool.healthy == (0,)
    finally:
        await server.stop()
    assert (group.rewards, group.lost) == ((0.5, 0.5), ())
    assert model.asked == 4, "two held, two asked once more"
    assert len({attempt.image for attempt in group.attempts}) == 2


class HoldsScores:
    """Keeps its first questions waiting for ever, and answers the later ones by the length of the answer's prompt."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.asked = 0
        self.reached: dict[int, asyncio.Event] = {}

    async def __call__(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        self.at(self.asked).set()
        if self.asked <= self.held:
            await asyncio.Event().wait()
        return completion(json.dumps({"rationale": "r", "score": 0.75}))

    def at(self, questions: int) -> asyncio.Event:
        return self.reached.setdefault(questions, asyncio.Event())


@pytest.mark.fault(12)
@pytest.mark.parametrize(("deaths", "scored"), [(1, SCORES), (2, 0)])
async def test_scores_in_flight_in_a_reward_worker_that_dies_end_scored_or_lost_and_never_as_a_number(
    tmp_path: Path, deaths: int, scored: int
) -> None:
    model = HoldsScores(held=SCORES * deaths)
    store = ImageStore(tmp_path / "images")
    task = Task(id="t", prompt="a flag", target=store.put(Image.new("RGB", (32, 32), "blue")), meta={})
    async with LocalChatServer(model) as server:
        judge = plug(
            "gen_searcher.rewards.chat.text_judge.ChatTextJudge",
            server={"base_url": server.base_url, "model": "m", "concurrency": SCORES},
        )
        async with closing(fleet(tmp_path).rewards({"text": judge})) as pool:
            judges: list[Judge] = [JUDGES[0], JudgePool(pool, "text")]
            running = asyncio.ensure_future(group_of(task, size=SCORES, generator=OneStored(store), judges=judges))
            for death in range(1, deaths + 1):
                await model.at(SCORES * death).wait()
                ray.kill(pool.handles[0], no_restart=False)
            group = await running
    assert len(group.attempts) + len(group.given_up) == SCORES
    assert group.rewards == (0.625,) * scored
    assert {lost.stage for lost in group.lost} == ({"actor"} if deaths == 2 else set())
    assert model.asked == 2 * SCORES, "each is asked once more, and not again"


@pytest.mark.fault(17)
@pytest.mark.slow
@pytest.mark.parametrize("is_built", ["by its constructor", "by its first call"])
async def test_an_actor_that_cannot_be_built_again_is_tried_a_bounded_number_of_times_and_ends_the_run_with_3(
    tmp_path: Path, is_built: str
) -> None:
    file, builds = tmp_path / "model", tmp_path / "builds"
    file.touch()
    if is_built == "by its constructor":
        model = plug("tests.faults.fragile.NeedsFile", file=str(file), builds=str(builds))
        pool = fleet(tmp_path).generators(model)
    else:
        actor = cast("ActorHandle", ray.remote(max_restarts=RESTARTS)(BuiltLate).remote(file, builds))
        pool = Pool("rollout", [actor], stage="search", wraps_plugs=False)
    async with closing(pool):
        file.unlink()
        ray.kill(pool.handles[0], no_restart=False)
        with pytest.raises(WorkersGone, match=f"no {pool.role} actor is left") as ended:
            await asyncio.gather(*(asked_until_the_end(pool) for _ in range(4)))
    assert ended.value.exit_code == 3
    assert 2 <= len(builds.read_text().splitlines()) <= 1 + RESTARTS


async def asked_until_the_end(pool: Pool) -> None:
    """A dying actor may answer once more; what it loses is the world's doing."""
    while True:
        with contextlib.suppress(WorldError):
            await pool.call("reading")


async def test_an_actor_that_cannot_be_built_at_all_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    model = plug("tests.faults.fragile.NeedsFile", file=str(tmp_path / "gone"), builds=str(tmp_path / "builds"))
    with pytest.raises(WorkersGone, match="generator actor 0 cannot be built") as ended:
        async with closing(fleet(tmp_path).generators(model)):
            raise AssertionError
    assert ended.value.exit_code == 3
    assert "No such file" in str(ended.value)
