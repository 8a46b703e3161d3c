"""The edge for code we did not write: calls to actors, and what becomes of their failures.

A dead or hung actor becomes a `WorldError` at stage `actor`; the pool stops using it until it answers `ready` again
(Ray restarts it). What a plug raises becomes a `WorldError` with its traceback. A bug of ours crashes the run, and
what only the user can mend (a spent budget, a revoked key, a retired judge) stops it with its own words.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayActorError, RayTaskError

from gen_searcher.errors import UserError, WorldError

log = logging.getLogger(__name__)

READY_DEADLINE_S = 180.0
"""Longest wait for a restarted actor: a vLLM engine on a busy two-core machine takes up to 40 s."""
READY_POLL_S = 0.5


class _Method(Protocol):
    def remote(self, *args: object, **kwargs: object) -> ray.ObjectRef[object]: ...


class Pool:
    """Actors of one role. Each call goes to the healthy actor with the fewest calls in flight."""

    def __init__(self, role: str, handles: Sequence[ActorHandle], *, stage: str, wraps_plugs: bool) -> None:
        """`wraps_plugs`: the actors run somebody else's code, so anything they raise is the world's failure."""
        if not handles:
            raise ValueError(f"the {role} pool needs at least one actor")
        self.role = role
        self.handles = list(handles)
        self._stage = stage
        self._wraps_plugs = wraps_plugs
        self._load = dict.fromkeys(range(len(handles)), 0)
        self._healthy = set(self._load)
        self._recovered = asyncio.Event()
        self._recoveries: dict[int, asyncio.Task[None]] = {}

    async def call(self, method: str, *args: object, sticky: int | None = None, **kwargs: object) -> object:
        """Call `method` on one actor. Calls with equal `sticky` go to one actor (its caches), also while theirs is down."""
        index = await self._pick(sticky)
        self._load[index] += 1
        try:
            return await self.call_on(index, method, *args, **kwargs)
        finally:
            self._load[index] -= 1

    async def call_on(self, index: int, method: str, *args: object, **kwargs: object) -> object:
        """Call `method` on the actor `index`. Raises WorldError when it is gone."""
        remote = cast("_Method", getattr(self.handles[index], method))
        try:
            return await remote.remote(*args, **kwargs)
        except RayActorError as error:
            self._suspend(index)
            raise WorldError(f"{self.role} actor {index} is gone: {_first_line(error)}", "actor") from error
        except RayTaskError as error:
            cause = cast("object", error.cause)
            if isinstance(cause, WorldError | UserError):
                raise cause from error
            if self._wraps_plugs:
                raise WorldError(str(error), self._stage) from error
            raise

    async def call_all(self, method: str, *args: object, **kwargs: object) -> list[object]:
        """Call `method` on every healthy actor; the failure of one is the failure of the call."""
        return await asyncio.gather(*(self.call_on(index, method, *args, **kwargs) for index in sorted(self._healthy)))

    @property
    def healthy(self) -> tuple[int, ...]:
        """Numbers of the actors in use."""
        return tuple(sorted(self._healthy))

    async def wait_ready(self) -> None:
        """Return once every actor has been built; an actor whose constructor raises fails here."""
        for index in range(len(self.handles)):
            await self.call_on(index, "ready")

    async def close(self) -> None:
        """Let the actors close what they hold open, as far as they still can, then kill them."""
        await asyncio.gather(*(self.call_on(index, "close") for index in sorted(self._healthy)), return_exceptions=True)
        self.stop()

    def stop(self) -> None:
        """Kill the actors; the pool is of no use afterwards."""
        self._healthy.clear()
        for handle in self.handles:
            ray.kill(handle)

    async def _pick(self, sticky: int | None) -> int:
        while not self._healthy:
            if not self._recoveries:
                raise WorldError(f"no {self.role} actor is left", "actor")
            self._recovered.clear()
            await self._recovered.wait()
        order = self.healthy
        if sticky is None:
            return min(order, key=lambda index: self._load[index])
        home = sticky % len(self.handles)
        return home if home in self._healthy else order[sticky % len(order)]

    def _suspend(self, index: int) -> None:
        self._healthy.discard(index)
        if index not in self._recoveries:
            log.warning("%s actor %d is gone; waiting for its restart", self.role, index)
            self._recoveries[index] = asyncio.ensure_future(self._recover(index))

    async def _recover(self, index: int) -> None:
        """Poll `ready` until the restarted actor answers; its constructor loads the current weights first."""
        remote = cast("_Method", self.handles[index].ready)
        try:
            async with asyncio.timeout(READY_DEADLINE_S):
                while index not in self._healthy:
                    try:
                        await remote.remote()
                        self._healthy.add(index)
                    except ActorDiedError:
                        log.exception("%s actor %d is out of restarts", self.role, index)
                        return
                    except RayActorError:
                        await asyncio.sleep(READY_POLL_S)
            log.warning("%s actor %d is back", self.role, index)
        except TimeoutError:
            log.exception("%s actor %d did not come back within %g s", self.role, index, READY_DEADLINE_S)
        finally:
            del self._recoveries[index]
            self._recovered.set()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
