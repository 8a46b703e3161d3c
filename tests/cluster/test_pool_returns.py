"""How a pool gets its number of actors back when raising one fails, or takes too long; on actors that are none."""
# pyright: reportUnknownMemberType=false, reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RaySystemError, RayTaskError

from gen_searcher.cluster.pool import RAISE_AGAIN_S, Pool
from gen_searcher.cluster.upkeep import Upkeep
from gen_searcher.cluster.watched import Care
from gen_searcher.errors import ActorGone, WorkersGone, WorldError
from gen_searcher.plan.virtual_time import run_virtually

HEAD_GONE = RaySystemError("the head is restarting")
WINDOW_S = 3600.0


class FakeMethod:
    """Fake: answers, but not before `built_at_s`, or fails; `cannot_begin` fails before there is a call."""

    def __init__(self, answer: object, *, built_at_s: float, cannot_begin: bool = False) -> None:
        self._answer = answer
        self._built_at_s = built_at_s
        self._cannot_begin = cannot_begin
        self._asked: list[asyncio.Future[object]] = []

    def remote(self, *args: object) -> asyncio.Future[object]:
        if self._cannot_begin:
            raise RuntimeError("planted: no connection")
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[object] = loop.create_future()
        self._asked.append(asked)
        loop.call_at(self._built_at_s, self._end, asked, self._answer)
        return asked

    def die(self) -> None:
        for asked in self._asked:
            self._end(asked, ActorDiedError())

    def _end(self, asked: asyncio.Future[object], answer: object) -> None:
        if asked.done():
            return
        if isinstance(answer, Exception):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)


class FakeActor:
    """Fake: what a pool asks of an actor."""

    def __init__(
        self,
        name: str = "",
        *,
        dead: bool = False,
        built_at_s: float = 0.0,
        cannot_begin: bool = False,
        fails: Exception | None = None,
    ) -> None:
        answer = ActorDiedError() if dead else fails or name
        self.ready = FakeMethod(answer, built_at_s=built_at_s, cannot_begin=cannot_begin)
        self.work = FakeMethod(answer, built_at_s=built_at_s)


class FakeFloor:
    """Fake: where actors are raised, one after the other or with the failures that were planted. Knows when."""

    def __init__(self, *raised: FakeActor | Exception) -> None:
        self._raised = list(raised)
        self.at_s: list[float] = []

    async def raise_actor(self, number: int) -> ActorHandle:
        self.at_s.append(asyncio.get_running_loop().time())
        found = self._raised.pop(0) if len(self._raised) > 1 else self._raised[0]
        if isinstance(found, Exception):
            raise found
        return cast("ActorHandle", found)


@pytest.fixture(autouse=True)
def kills(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next kills fail with."""
    planted: list[Exception] = []

    def kill(actor: FakeActor, *, no_restart: bool = True) -> None:
        if planted:
            raise planted.pop()
        actor.ready.die()
        actor.work.die()

    monkeypatch.setattr(ray, "kill", kill)
    return planted


def pool_of(
    actors: Sequence[FakeActor],
    floor: FakeFloor,
    *,
    restarts: int = 3,
    ready_s: float = 600.0,
    asks_first: bool = False,
) -> Pool:
    return Pool(
        "generator",
        [cast("ActorHandle", actor) for actor in actors],
        stage="generate",
        wraps_plugs=True,
        care=Care(hang_s=300.0, asks_first=asks_first),
        upkeep=Upkeep(raise_actor=floor.raise_actor, restarts=restarts, window_s=WINDOW_S, ready_s=ready_s),
    )


def test_a_worker_that_could_not_be_raised_at_first_serves_as_soon_as_it_can_be(
    kills: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    floor = FakeFloor(HEAD_GONE, FakeActor("new"))
    kills.append(RaySystemError("the head cannot be asked"))

    async def lose_one() -> None:
        pool = pool_of([FakeActor(dead=True)], floor)
        pool.look()
        await asyncio.sleep(1.0)
        assert pool.healthy == ()
        assert await pool.call("work") == "new"
        assert pool.healthy == (0,)
        pool.stop()

    run_virtually(lose_one())
    assert floor.at_s == [0.5 + RAISE_AGAIN_S, 0.5 + 2 * RAISE_AGAIN_S]
    said = [record for record in caplog.records if "no actor can be raised in the place" in record.getMessage()]
    assert [str(record.exc_info[1]) for record in said if record.exc_info] == [
        "System error: the head cannot be asked",
        "System error: the head is restarting",
    ]


def test_a_worker_that_can_never_be_raised_rests_and_is_tried_again_after_the_window() -> None:
    floor = FakeFloor(HEAD_GONE)

    async def lose_one() -> None:
        pool = pool_of([FakeActor(dead=True)], floor, restarts=3)
        pool.look()
        await asyncio.sleep(0)
        with pytest.raises(WorkersGone, match="each is dead and out of restarts"):
            await asyncio.gather(*(pool.call("work") for _ in range(2)))
        while len(floor.at_s) < 5:  # noqa: ASYNC110 - the clock jumps
            await asyncio.sleep(60.0)
        pool.stop()

    run_virtually(lose_one())
    assert floor.at_s[:3] == [0.5, 0.5 + RAISE_AGAIN_S, 0.5 + 2 * RAISE_AGAIN_S]
    assert floor.at_s[3] >= WINDOW_S, "the death and three failures are more than three"


def test_an_actor_that_cannot_even_be_asked_is_replaced() -> None:
    floor = FakeFloor(FakeActor(cannot_begin=True), FakeActor("new"))

    async def lose_one() -> None:
        pool = pool_of([FakeActor(dead=True)], floor)
        pool.look()
        await asyncio.sleep(0)
        await asyncio.sleep(5.0)
        assert await pool.call("work") == "new"
        pool.stop()

    run_virtually(lose_one())
    assert len(floor.at_s) == 2


def test_one_that_leaves_while_another_is_raised_in_its_place_is_forgotten() -> None:
    floor = FakeFloor(HEAD_GONE)

    async def lose_one() -> None:
        pool = pool_of([FakeActor(dead=True), FakeActor("other")], floor)
        pool.look()
        await asyncio.sleep(1.0)
        assert pool.members == (0, 1)
        pool.leave(0)
        await asyncio.sleep(2 * WINDOW_S)
        assert (pool.members, pool.healthy) == ((1,), (1,))
        assert await pool.call("work", sticky=0) == "other"
        pool.stop()

    run_virtually(lose_one())
    assert floor.at_s == [0.5]


@pytest.mark.parametrize("ready_s", [600.0, 1800.0])
def test_a_worker_whose_build_hangs_ends_the_run_with_words_that_name_it_and_the_key(ready_s: float) -> None:
    async def start() -> None:
        actors = [FakeActor("first", built_at_s=500.0), FakeActor("hung", built_at_s=1e9)]
        pool = pool_of(actors, FakeFloor(FakeActor()), ready_s=ready_s)
        with pytest.raises(
            WorkersGone, match=rf"^generator worker 1 was not ready within {ready_s:g} s;.*cluster\.ready_timeout_s"
        ) as caught:
            await pool.wait_ready()
        assert caught.value.exit_code == 3
        assert asyncio.get_running_loop().time() == 500.0 + ready_s

    run_virtually(start())


def test_a_worker_that_died_while_it_was_built_has_as_long_again_and_no_longer() -> None:
    async def start() -> None:
        pool = pool_of([FakeActor(dead=True)], FakeFloor(FakeActor("hung", built_at_s=1e9)))
        with pytest.raises(WorkersGone, match=r"^generator worker 0 was not ready within 600 s"):
            await pool.wait_ready()
        assert asyncio.get_running_loop().time() == 600.0
        pool.stop()

    run_virtually(start())


@pytest.mark.parametrize("raised", [ValueError("no such index"), WorldError("its index is away", "tool")])
def test_a_worker_whose_plug_raises_while_it_is_built_ends_the_run_at_its_start(raised: Exception) -> None:
    async def start() -> None:
        broken = FakeActor(fails=RayTaskError("ready", f"its traceback, then {raised}", raised))
        pool = pool_of([FakeActor("well"), broken], FakeFloor(FakeActor("new")))
        with pytest.raises(
            WorkersGone, match=r"^generator actor 1 cannot be built: .*(no such index|its index is away)"
        ):
            await pool.wait_ready()
        pool.stop()

    run_virtually(start())


def test_a_worker_that_joined_and_hangs_before_its_first_call_has_the_time_of_any_other() -> None:
    async def join() -> None:
        pool = pool_of([FakeActor("first")], FakeFloor(FakeActor("joined")), ready_s=3600.0, asks_first=True)
        assert await pool.add() == 1
        await asyncio.sleep(10.0)
        assert pool.healthy == (0, 1)
        joined = cast("FakeActor", pool.handles[1])
        joined.ready, joined.work = (FakeMethod("", built_at_s=1e9) for _ in range(2))
        with pytest.raises(ActorGone, match="finished nothing for 300 s and was killed"):
            await pool.call_on(1, "work")
        assert asyncio.get_running_loop().time() == 10.0 + 2 * 300.0
        pool.stop()

    run_virtually(join())


def test_a_worker_may_load_for_as_long_as_it_is_given_and_hangs_after_that_like_any_other() -> None:
    async def start() -> None:
        pool = pool_of(
            [FakeActor("slow", built_at_s=1700.0), FakeActor("hung", built_at_s=1e9)],
            FakeFloor(FakeActor("new")),
            ready_s=1800.0,
            asks_first=True,
        )
        work = asyncio.ensure_future(pool.call("work", sticky=0))
        told = asyncio.ensure_future(pool.ready_again())
        await asyncio.sleep(1750.0)
        assert pool.healthy == (0, 1)
        assert await work == "slow"
        await told
        assert asyncio.get_running_loop().time() == 1800.0
        assert pool.healthy == (0,), "what was not built by then is killed and built again"
        cast("FakeActor", pool.handles[0]).ready = FakeMethod("", built_at_s=1e9)
        asked = asyncio.ensure_future(pool.ready_again())
        await asyncio.sleep(599.0)
        assert 0 in pool.healthy
        await asked
        assert asyncio.get_running_loop().time() == 1800.0 + 2 * 300.0
        assert 0 not in pool.healthy
        pool.stop()

    run_virtually(start())
