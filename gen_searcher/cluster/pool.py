"""The edge for code we did not write: calls to actors, and what becomes of their failures.

A dead actor becomes an `ActorGone`; the pool stops using it until it answers `ready` again (Ray restarts it). `Care` says
when an actor that has work hangs: it is killed, which makes it a dead one, and its calls may be made once more elsewhere.
What a plug raises becomes a `WorldError` with its traceback. A bug of ours crashes the run, and what only the user can
mend (a spent budget, a revoked key, a retired judge) stops it with its own words.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from gen_searcher.errors import ActorGone, UserError, WorkersGone, WorldError
from gen_searcher.train.routing import Router

log = logging.getLogger(__name__)

READY_DEADLINE_S = 180.0
"""Longest wait for a restarted actor: a vLLM engine on a busy two-core machine takes up to 40 s."""
READY_POLL_S = 0.5


class _Method(Protocol):
    def remote(self, *args: object, **kwargs: object) -> ray.ObjectRef[object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """When an actor hangs, and what becomes of its calls."""

    hang_s: float
    """Longest time without any finished call while there are calls."""
    repeats: bool = True
    """A call that lost its actor is made once more: the same request gives the same answer and is not paid for twice."""
    asks_first: bool = False
    """Its calls may take any time (a long trajectory, a provider that asks for patience): an actor that still answers
    `ready`, within `hang_s` again, does not hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Calls that gain by going to one actor."""

    key: int
    """Equal for calls that belong together."""
    slack: int
    """Calls more than the idlest actor that the favourite may have."""


@dataclass(slots=True, kw_only=True)
class _Watch:
    """Of one actor: how many calls it has, and when one last came back or the first one came."""

    calls: int = 0
    since_s: float = 0.0

    def begin(self) -> None:
        if self.calls == 0:
            self.since_s = asyncio.get_running_loop().time()
        self.calls += 1

    def end(self, *, finished: bool) -> None:
        self.calls -= 1
        if finished:
            self.since_s = asyncio.get_running_loop().time()

    def left_s(self, hang_s: float) -> float:
        return max(0.0, self.since_s + hang_s - asyncio.get_running_loop().time())


class Pool:
    """Actors of one role. Each call goes to the healthy actor with the fewest calls in flight."""

    def __init__(
        self, role: str, handles: Sequence[ActorHandle], *, stage: str, wraps_plugs: bool, care: Care | None = None
    ) -> None:
        """Pool the actors.

        Args:
            role: What they are called in messages.
            handles: The actors.
            stage: Where their failures happened.
            wraps_plugs: They run somebody else's code, so anything they raise is the world's failure.
            care: None leaves a call lost when its actor dies, and waits for a hung one.
        """
        if not handles:
            raise ValueError(f"the {role} pool needs at least one actor")
        self.role = role
        self.handles = list(handles)
        self._stage = stage
        self._wraps_plugs = wraps_plugs
        self._care = care
        self._watches = {index: _Watch() for index in range(len(handles))}
        self._router = Router(len(handles))
        self._healthy = set(self._watches)
        self._recovered = asyncio.Event()
        self._recoveries: dict[int, asyncio.Task[None]] = {}
        self._overdue: set[int] = set()

    async def call(
        self, method: str, *args: object, sticky: int | None = None, near: Near | None = None, **kwargs: object
    ) -> object:
        """Call `method` on one actor: the idlest, unless `sticky` or `near` says which, when that one is healthy.

        `sticky` is a number that every pool of the same actors understands alike, also while its actor is down; `near` is
        what this pool remembers.
        """
        index = await self._pick(sticky, near)
        try:
            return await self.call_on(index, method, *args, **kwargs)
        except ActorGone as error:
            if self._care is None or not self._care.repeats:
                raise
            log.warning("%s; asking once more", error)
        return await self.call_on(await self._pick(sticky, near), method, *args, **kwargs)

    async def call_on(self, index: int, method: str, *args: object, **kwargs: object) -> object:
        """Call `method` on the actor `index`. Raises ActorGone when it is dead or hangs."""
        return await self._call(index, self._care, method, *args, **kwargs)

    async def _call(self, index: int, care: Care | None, method: str, *args: object, **kwargs: object) -> object:
        remote = cast("_Method", getattr(self.handles[index], method))
        try:
            return await self._answer(index, remote.remote(*args, **kwargs), care)
        except RayTaskError as error:
            cause = cast("object", error.cause)
            if isinstance(cause, WorldError | UserError):
                raise cause from error
            if self._wraps_plugs:
                raise WorldError(str(error), self._stage) from error
            raise
        except RayError as error:  # it died, or Ray killed it for its memory, or its answer went down with a node
            self._suspend(index)
            raise ActorGone(f"{self.role} actor {index} is gone: {_reason(error)}") from error

    async def _answer(self, index: int, ref: ray.ObjectRef[object], care: Care | None) -> object:
        watch = self._watches[index]
        watch.begin()
        self._router.began(index)
        answer = asyncio.ensure_future(_await(ref))
        try:
            while not answer.done():
                if care is not None and watch.left_s(care.hang_s) == 0.0:
                    await self._check_hung(index, care)
                await asyncio.wait({answer}, timeout=None if care is None else watch.left_s(care.hang_s))
            return answer.result()
        finally:
            watch.end(finished=answer.done())
            self._router.ended(index)
            answer.cancel()

    async def _check_hung(self, index: int, care: Care) -> None:
        """Return if it only takes long. Otherwise kill it, which ends its other calls too, and raise ActorGone."""
        if care.asks_first and index in self._healthy:
            self._watches[index].since_s = asyncio.get_running_loop().time()  # the other calls wait for this answer
            remote = cast("_Method", self.handles[index].ready)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(care.hang_s):
                    await remote.remote()
                    return
        if index in self._healthy:
            ray.kill(self.handles[index], no_restart=False)
        self._suspend(index)
        raise ActorGone(f"{self.role} actor {index} finished nothing for {care.hang_s:g} s and was killed")

    async def call_all(self, method: str, *args: object, **kwargs: object) -> list[object]:
        """Call `method` on every healthy actor; the failure of one is the failure of the call."""
        return await asyncio.gather(*(self.call_on(index, method, *args, **kwargs) for index in sorted(self._healthy)))

    @property
    def healthy(self) -> tuple[int, ...]:
        """Numbers of the actors in use."""
        return tuple(sorted(self._healthy))

    async def wait_ready(self) -> None:
        """Return once every actor has been built, one that died meanwhile again. Raises WorkersGone for one that cannot be."""
        for index in range(len(self.handles)):
            try:
                await self._call(index, None, "ready")  # loading a model takes as long as it takes
            except WorldError as error:
                if index in self._recoveries:
                    await self._recoveries[index]
                if index not in self._healthy or not isinstance(error, ActorGone):
                    raise WorkersGone(f"{self.role} actor {index} cannot be built: {error.message}") from error

    async def close(self) -> None:
        """Let the actors close what they hold open, as far as they still can, then kill them."""
        await asyncio.gather(*(self.call_on(index, "close") for index in sorted(self._healthy)), return_exceptions=True)
        self.stop()

    def stop(self) -> None:
        """Kill the actors; the pool is of no use afterwards."""
        self._healthy.clear()
        for handle in self.handles:
            ray.kill(handle)

    async def _pick(self, sticky: int | None, near: Near | None) -> int:
        while not self._healthy:
            if self._recoveries.keys() <= self._overdue:
                raise WorkersGone(
                    f"no {self.role} actor is left: each is dead and out of restarts, or did not come back; the log says "
                    "why. Mend the cause and run the same command again"
                )
            self._recovered.clear()
            await self._recovered.wait()
        if near is not None:
            return self._router.near(near.key, self._healthy, slack=near.slack)
        if sticky is None:
            return self._router.idlest(self._healthy)
        order, home = self.healthy, sticky % len(self.handles)
        return home if home in self._healthy else order[sticky % len(order)]

    def _suspend(self, index: int) -> None:
        self._healthy.discard(index)
        if index not in self._recoveries:
            log.warning("%s actor %d is gone; waiting for its restart", self.role, index)
            self._recoveries[index] = asyncio.ensure_future(self._recover(index))

    async def _recover(self, index: int) -> None:
        """Poll `ready` until the restarted actor answers; its constructor loads the current weights first.

        One that cannot be built is killed, which uses up a restart. One that no node has room for is waited for as long
        as the run goes on; after READY_DEADLINE_S the run does not go on for its sake alone.
        """
        hope = asyncio.get_running_loop().call_later(READY_DEADLINE_S, self._despair, index)
        remote = cast("_Method", self.handles[index].ready)
        try:
            await asyncio.sleep(READY_POLL_S)  # a killed actor may answer once more before it ends
            while index not in self._healthy:
                try:
                    await remote.remote()
                    self._healthy.add(index)
                    log.warning("%s actor %d is back", self.role, index)
                except ActorDiedError:
                    log.exception("%s actor %d cannot be restarted, or is out of restarts", self.role, index)
                    return
                except RayTaskError:
                    log.exception("%s actor %d cannot be built; trying again if it has restarts left", self.role, index)
                    ray.kill(self.handles[index], no_restart=False)
                    await asyncio.sleep(READY_POLL_S)
                except RayError:
                    await asyncio.sleep(READY_POLL_S)
        finally:
            hope.cancel()
            self._overdue.discard(index)
            del self._recoveries[index]
            self._recovered.set()

    def _despair(self, index: int) -> None:
        log.error("%s actor %d did not come back within %g s", self.role, index, READY_DEADLINE_S)
        self._overdue.add(index)
        self._recovered.set()


async def _await(ref: ray.ObjectRef[object]) -> object:
    return await ref


def _reason(error: BaseException) -> str:
    """Ray's first line; what a constructor has raised stands in the last one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0].partition(', ray::')[0]}: {lines[-1]}" if "creation task" in lines[0] else lines[0]
