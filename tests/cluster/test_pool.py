"""Pools on a real Ray: dead actors, raising plugs, and who gets the next call."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import pytest
import ray
from PIL import Image
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayTaskError

from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import ToolPool
from gen_searcher.cluster.watched import Care, Method
from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import ActorGone, DiskTrouble, JudgeError, JudgeGone, WorkersGone, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.tools.cache import RequestCache
from gen_searcher.types import Grounding, ImageRef, ToolCall

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("local_ray")


def is_first_time(mark: str) -> bool:
    """Over all processes; `mark` is a file that is not there yet."""
    path = Path(mark)
    before = path.exists()
    path.touch()
    return not before


def stand_still() -> None:
    """With the event loop: not even `ready` is answered."""
    threading.Event().wait()


class Worker:
    """Counts its calls, raises or dies on request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.seen: list[str] = []
        self.released = asyncio.Event()

    async def ready(self) -> bool:
        return True

    async def work(self) -> str:
        self.calls += 1
        return f"{self.name}:{self.calls}"

    async def call(self, call: ToolCall, trajectory_id: str) -> str:
        return self.name

    async def refuse(self) -> None:
        raise JudgeError("no verdict")

    async def retire(self) -> None:
        raise JudgeGone("model_not_found")

    async def full(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def bug(self) -> None:
        raise KeyError("typo")

    async def die(self) -> None:
        os._exit(1)

    async def die_unless(self, mark: str) -> str:
        if is_first_time(mark):
            os._exit(1)
        return await self.work()

    async def slow(self, turn: int) -> str:
        await asyncio.sleep(0.75 * (turn + 1))
        return await self.work()

    async def hold(self) -> str:
        """Works on until `release`, then does what comes next."""
        self.seen.append("begun")
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        self.seen.append("done")
        return await self.work()

    async def release(self) -> list[str]:
        self.released.set()
        return self.seen

    async def events(self) -> list[str]:
        return self.seen

    async def ask(self, other: ActorHandle) -> object:
        """As a rollout worker asks a tool worker."""
        return await Pool("tool", [other], stage="tool", wraps_plugs=True).call("hold")

    async def hang_unless(self, mark: str) -> str:
        if is_first_time(mark):
            stand_still()
        return await self.work()


class HeldModel:
    """Draws in batches, each once `released`."""

    def __init__(self, seen: list[str], released: asyncio.Event) -> None:
        self._seen = seen
        self._released = released

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        self._seen.append(f"drawn {seed}")
        await self._released.wait()
        return Image.new("RGB", (8, 8), (seed, 0, 0))

    def batch_shape(self, order: DrawOrder) -> str:
        return "any"

    async def draw_batch(self, orders: Sequence[DrawOrder]) -> Mapping[str, Image.Image]:
        return {order.id: await self.draw(order.prompt, (), seed=order.seed) for order in orders}


class Studio:
    """The generator of a run over a batch model, and an answer that everybody shares."""

    def __init__(self, images: str) -> None:
        self.seen: list[str] = []
        self.released = asyncio.Event()
        self._answers: RequestCache[str, str] = RequestCache(4)
        self._generator = StoredGenerator(
            HeldModel(self.seen, self.released), ImageStore(Path(images)), capability=Capability(batch=4)
        )

    async def draw(self, seed: int) -> ImageRef:
        return await self._noted(self._generator.generate(Grounding(gen_prompt="a", references=()), seed=seed))

    async def find(self) -> str:
        return (await self._noted(self._answers.get("q", self._make))).value

    async def _make(self) -> str:
        await self.released.wait()
        self.seen.append("found")
        return f"found {self.seen.count('found')}"

    async def _noted(self, work: Awaitable[T]) -> T:
        self.seen.append("asked")
        try:
            return await work
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def release(self) -> None:
        self.released.set()

    async def events(self) -> list[str]:
        return self.seen


def actor(name: str, *, restarts: int = 1) -> ActorHandle:
    remote = ray.remote(num_cpus=0.01, max_restarts=restarts)(Worker)
    return cast("ActorHandle", remote.options(max_concurrency=10).remote(name))


async def test_a_killed_actor_is_lost_work_and_serves_again_after_its_restart() -> None:
    pool = Pool("judge", [actor("a")], stage="judge", wraps_plugs=True)
    assert await pool.call("work") == "a:1"
    with pytest.raises(WorldError, match="actor: judge actor 0 is gone"):
        await pool.call("die")
    assert await pool.call("work") == "a:1", "a restarted actor counts anew"


async def test_calls_go_to_the_other_actor_while_one_is_down() -> None:
    pool = Pool("judge", [actor("a", restarts=0), actor("b")], stage="judge", wraps_plugs=True)
    with pytest.raises(WorldError):
        await pool.call_on(0, "die")
    assert {str(await pool.call("work", sticky=0))[0] for _ in range(3)} == {"b"}


async def test_calls_that_belong_together_stay_together_while_their_actor_is_down() -> None:
    pool = Pool("tool", [actor("a", restarts=0), actor("b"), actor("c")], stage="tool", wraps_plugs=True)
    keys = range(12)
    before = {key: str(await pool.call("work", sticky=key))[0] for key in keys}
    assert set(before.values()) == {"a", "b", "c"}
    with pytest.raises(WorldError):
        await pool.call_on(0, "die")
    for key in keys:
        went = {str(answer)[0] for answer in await asyncio.gather(*(pool.call("work", sticky=key) for _ in range(6)))}
        assert len(went) == 1
        assert went == {before[key]} or before[key] == "a", "nobody moves whose actor lives"


async def test_siblings_ask_one_tool_worker_and_tasks_are_spread_over_all() -> None:
    tools = ToolPool(Pool("tool", [actor(name) for name in "abc"], stage="tool", wraps_plugs=True))
    search = ToolCall(name="search", arguments={"queries": ["q"]})
    homes: list[str] = []
    for task in range(8):
        asked = (tools.call(search, trajectory_id=f"task:{task}:{seed}") for seed in range(6))
        (home,) = set(map(str, await asyncio.gather(*asked)))
        homes.append(home)
    assert set(homes) == {"a", "b", "c"}


async def test_a_pool_without_living_actors_says_so() -> None:
    pool = Pool("judge", [actor("a", restarts=0)], stage="judge", wraps_plugs=True)
    with pytest.raises(WorldError):
        await pool.call("die")
    with pytest.raises(WorkersGone, match="no judge actor is left") as caught:
        await pool.call("work")
    assert caught.value.exit_code == 3


async def test_what_a_plug_raises_is_the_worlds_failure_with_its_stage_and_traceback() -> None:
    pool = Pool("judge", [actor("a")], stage="judge", wraps_plugs=True)
    with pytest.raises(WorldError, match="typo") as caught:
        await pool.call("bug")
    assert caught.value.stage == "judge"
    with pytest.raises(JudgeError, match="no verdict"):
        await pool.call("refuse")


async def test_what_ends_a_run_leaves_the_actor_as_it_was_raised() -> None:
    pool = Pool("judge", [actor("a")], stage="judge", wraps_plugs=True)
    with pytest.raises(JudgeGone, match="model_not_found") as caught:
        await pool.call("retire")
    assert caught.value.exit_code == 3


@pytest.mark.fault(14)
@pytest.mark.parametrize("wraps_plugs", [True, False])
async def test_a_full_disk_of_an_actor_ends_the_run_and_loses_no_attempt(wraps_plugs: bool) -> None:
    pool = Pool("tool", [actor("a")], stage="tool", wraps_plugs=wraps_plugs)
    with pytest.raises(DiskTrouble, match="No space left on device") as caught:
        await pool.call("full")
    assert caught.value.exit_code == 3


async def test_a_bug_in_our_own_actors_is_not_the_worlds_failure() -> None:
    pool = Pool("rollout", [actor("a")], stage="search", wraps_plugs=False)
    with pytest.raises((KeyError, RayTaskError)):
        await pool.call("bug")


async def test_calls_are_spread_over_idle_actors() -> None:
    pool = Pool("judge", [actor("a"), actor("b")], stage="judge", wraps_plugs=True)
    answers = await asyncio.gather(*(pool.call("work") for _ in range(6)))
    assert sorted(str(answer) for answer in answers) == ["a:1", "a:2", "a:3", "b:1", "b:2", "b:3"]


async def test_with_care_a_call_that_lost_its_actor_is_made_once_more(tmp_path: Path) -> None:
    pool = Pool("judge", [actor("a", restarts=2)], stage="judge", wraps_plugs=True, care=Care(hang_s=60))
    assert await pool.call("die_unless", str(tmp_path / "died")) == "a:1"
    with pytest.raises(ActorGone):
        await pool.call("die")


async def test_an_actor_that_finishes_nothing_is_killed_and_its_calls_are_made_once_more(tmp_path: Path) -> None:
    pool = Pool("judge", [actor("a")], stage="judge", wraps_plugs=True, care=Care(hang_s=6))
    await pool.wait_ready()
    mark = tmp_path / "hung"
    hanging = asyncio.ensure_future(pool.call("hang_unless", str(mark)))
    while not await asyncio.to_thread(mark.exists):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.05)
    answers = await asyncio.gather(hanging, pool.call("work"))
    assert sorted(str(answer) for answer in answers) == ["a:1", "a:2"]


async def test_an_actor_with_more_work_than_time_is_not_taken_for_hung_while_it_finishes_some() -> None:
    pool = Pool("judge", [actor("a", restarts=0)], stage="judge", wraps_plugs=True, care=Care(hang_s=2))
    await pool.wait_ready()
    answers = await asyncio.gather(*(pool.call("slow", turn) for turn in range(4)))
    assert answers == ["a:1", "a:2", "a:3", "a:4"], "the last one waited for 3 s"


async def test_a_slow_actor_that_answers_is_left_alone_and_a_hung_one_loses_its_calls(tmp_path: Path) -> None:
    care = Care(hang_s=1.5, repeats=False, asks_first=True)
    pool = Pool("rollout", [actor("a")], stage="search", wraps_plugs=False, care=care)
    await pool.wait_ready()
    assert await pool.call("slow", 3) == "a:1", "it took 3 s and finished nothing else"
    with pytest.raises(ActorGone, match=r"rollout actor 0 finished nothing for 1.5 s and was killed"):
        await pool.call("hang_unless", str(tmp_path / "hung"))
    assert await pool.call("work") == "a:1", "a restarted actor counts anew"


async def given_up_once_begun(call: Coroutine[object, object, object], *, on: Pool, others: int = 0) -> None:
    """Wait until the actor works on it and on the `others`, then cancel it here."""
    asked = asyncio.ensure_future(call)
    await seen("begun", on=on, times=1 + others)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def seen(event: str, *, on: Pool, times: int = 1) -> None:
    """Wait until the first actor of the pool has noted it so often."""
    async with asyncio.timeout(30):
        while cast("list[str]", await on.call_on(0, "events")).count(event) < times:
            pass


async def test_an_actor_stops_working_for_a_caller_who_gives_up_and_goes_on_for_others() -> None:
    pool = Pool("rollout", [actor("a")], stage="search", wraps_plugs=False)
    other = asyncio.ensure_future(pool.call("hold"))
    await given_up_once_begun(pool.call("hold"), on=pool, others=1)
    await seen("cancelled", on=pool)
    await pool.call("release")
    assert await other == "a:1", "of the call that was given up nothing more was done"
    assert await pool.call_on(0, "events") == ["begun", "begun", "cancelled", "done"]
    assert pool.healthy == (0,)


async def test_a_caller_who_gives_up_takes_neither_a_picture_nor_an_answer_from_those_who_share_it(
    tmp_path: Path,
) -> None:
    studio = cast("ActorHandle", ray.remote(num_cpus=0.01)(Studio).options(max_concurrency=10).remote(str(tmp_path)))
    pool = Pool("generator", [studio], stage="generate", wraps_plugs=True)
    alone = asyncio.ensure_future(pool.call("draw", 1))
    await seen("drawn 1", on=pool)  # the model has the first one; what comes now waits for the next batch
    shared = [asyncio.ensure_future(pool.call("draw", seed)) for seed in (2, 2, 3, 4)]
    found = [asyncio.ensure_future(pool.call("find")) for _ in range(2)]
    await seen("asked", on=pool, times=1 + len(shared) + len(found))
    for given_up in (shared[0], shared[2], found[0]):
        given_up.cancel()
    await seen("cancelled", on=pool, times=3)
    await pool.call_on(0, "release")
    pictures = await asyncio.gather(alone, shared[1], shared[3])
    assert len(set(pictures)) == 3
    assert await pool.call("draw", 2) == pictures[1], "it was drawn once"
    assert await found[1] == "found 1"


async def test_a_deadline_of_the_caller_ends_what_the_actor_has_asked_of_others() -> None:
    rollout = Pool("rollout", [actor("a")], stage="search", wraps_plugs=False)
    tool = Pool("tool", [actor("t")], stage="tool", wraps_plugs=True)
    await given_up_once_begun(rollout.call("ask", tool.handles[0]), on=tool)
    await seen("cancelled", on=tool)
    assert await tool.call("release") == ["begun", "cancelled"]
    assert await tool.call("work") == "t:1"


async def test_a_call_that_must_end_is_not_cancelled_when_nobody_waits_for_it() -> None:
    pool = Pool("learner", [actor("a")], stage="learn", wraps_plugs=False)
    await given_up_once_begun(pool.call_on(0, "hold"), on=pool)
    await pool.call_on(0, "release")
    await seen("done", on=pool)
    assert await pool.call_on(0, "events") == ["begun", "done"]


async def test_a_slow_actor_that_leaves_is_asked_and_finishes_what_it_has() -> None:
    care = Care(hang_s=0.5, repeats=False, asks_first=True)
    pool = Pool("rollout", [actor("a", restarts=0)], stage="search", wraps_plugs=False, care=care)
    await pool.wait_ready()
    asked = asyncio.ensure_future(pool.call("slow", 3))
    await asyncio.sleep(0)  # it is on its way
    leaving = pool.leave(0)
    word = asyncio.ensure_future(pool.dismiss(leaving))
    assert await asked == "a:1", "it took 3 s, and its pool looked every 0.5 s"
    assert await word is None


async def test_an_actor_that_hangs_while_it_leaves_is_killed(tmp_path: Path) -> None:
    care = Care(hang_s=0.5, repeats=False, asks_first=True)
    handle = actor("a", restarts=1)
    pool = Pool("rollout", [handle], stage="search", wraps_plugs=False, care=care)
    await pool.wait_ready()
    mark = tmp_path / "hung"
    asked = asyncio.ensure_future(pool.call("hang_unless", str(mark)))
    while not await asyncio.to_thread(mark.exists):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.05)
    pool.leave(0)
    with pytest.raises(ActorGone, match=r"finished nothing for 0.5 s and was killed"):
        await asked
    with pytest.raises(ActorDiedError):
        await cast("Method", handle.ready).remote()
