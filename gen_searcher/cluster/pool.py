"""The edge for code we did not write: calls to actors, and what becomes of their failures.

A dead actor becomes an `ActorGone`; the pool stops using it until it answers `ready` again: Ray restarts it, and where
that is over, `Upkeep` raises another one in its place. `Care` says when an actor that has work hangs: it is killed, which
makes it a dead one, and its calls may be made once more elsewhere. So is one whose engine died. Actors join and leave while
calls go on. Work that its caller gives up is cancelled where it is done.
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
from collections.abc import Callable, Sequence
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from gen_searcher.cluster.failures import failure_in, is_over, none_left, ready_within, reason_of, was_lost
from gen_searcher.cluster.upkeep import READY_S, DeathsOfAll, Upkeep
from gen_searcher.cluster.watched import Asked, Care, Leaving, Method, Watch, answer_of, goes_to, nodes_of, stop
from gen_searcher.errors import ActorGone, EngineDead, WorkersGone, WorldError
from gen_searcher.train.routing import Near, Router, home

log = logging.getLogger(__name__)

READY_POLL_S = 0.5
RAISE_AGAIN_S = 10.0
"""Until an actor is raised that could not be: a head that restarts is back within a minute."""


class Pool:
    """Actors of one role. Each call goes to the healthy actor with the fewest calls in flight."""

    def __init__(
        self,
        role: str,
        handles: Sequence[ActorHandle],
        *,
        stage: str,
        wraps_plugs: bool,
        care: Care | None = None,
        upkeep: Upkeep | None = None,
        greeting: Callable[[], tuple[object, ...]] = tuple,
    ) -> None:
        """Pool the actors, numbered from 0.

        Args:
            role: What they are called in messages.
            handles: The actors.
            stage: Where their failures happened.
            wraps_plugs: They run somebody else's code, so anything they raise is the world's failure.
            care: None leaves a call lost when its actor dies, and waits for a hung one.
            upkeep: None uses an actor for as long as Ray restarts it.
            greeting: Arguments of `ready`: what an actor must know before it serves.
        """
        if not handles and upkeep is None:
            raise ValueError(f"the {role} pool needs at least one actor")
        self.role = role
        self.handles = dict(enumerate(handles))
        self._stage = stage
        self._wraps_plugs = wraps_plugs
        self._care = care
        self._upkeep = upkeep
        self._greeting = greeting
        self._watches = {index: Watch() for index in self.handles}
        self._deaths = DeathsOfAll(upkeep)
        self._router = Router(len(handles))
        self._healthy = set(self.handles)
        self._next = len(handles)
        self._news = 0
        self._changed = asyncio.Event()
        self._returning: dict[int, asyncio.Task[None]] = {}
        self._resting: set[int] = set()
        self._looks: dict[int, asyncio.Task[bool]] = {}

    async def call(
        self, method: str, *args: object, sticky: int | None = None, near: Near | None = None, **kwargs: object
    ) -> object:
        """Call `method` on one actor: the idlest, unless `sticky` or `near` says which, when that one is healthy.

        `sticky` is a number that every pool of the same actors understands alike, also while its actor is down; `near` is
        what this pool remembers. When the caller gives up, the actor is told and does nothing more for it.
        """
        work = Asked(method=method, args=args, kwargs=kwargs, is_work=True)
        index = await self._pick(sticky, near)
        try:
            return await self._serve(index, work)
        except ActorGone as error:
            if self._care is None or not self._care.repeats:
                raise
            log.warning("%s; asking once more", error)
        return await self._serve(await self._pick(sticky, near), work)

    async def _serve(self, index: int, work: Asked) -> object:
        goes_to(index)
        watch = self._watches[index]
        answer = await self._call(index, self._care, work)
        watch.served += 1
        return answer

    async def call_on(self, index: int, method: str, *args: object, **kwargs: object) -> object:
        """Call `method` on the actor `index`, which ends it even if nobody waits. Raises ActorGone when it is dead or hangs."""
        return await self._call(index, self._care, Asked(method=method, args=args, kwargs=kwargs))

    async def _call(self, index: int, care: Care | None, asked: Asked) -> object:
        handle = self.handles.get(index)
        if handle is None:
            raise ActorGone(f"{self.role} actor {index} has left")
        try:
            return await self._answer(index, handle, asked, care)
        except RayTaskError as error:
            failure = failure_in(error, stage=self._stage if self._wraps_plugs else None)
            if failure is None:
                raise
            if isinstance(failure, EngineDead):
                self._end(index, handle, str(failure))
                failure = ActorGone(f"{self.role} actor {index} is gone: {failure}")
            raise failure from error
        except RayError as error:  # it died, or Ray killed it for its memory, or its answer went down with a node
            if self.handles.get(index) is handle:  # and not one that was raised in its place meanwhile
                self._suspend(index, reason_of(error))
            raise ActorGone(f"{self.role} actor {index} is gone: {reason_of(error)}") from error

    async def _answer(self, index: int, handle: ActorHandle, asked: Asked, care: Care | None) -> object:
        watch, ref = self._watches[index], asked.begin(handle)
        watch.begin()
        self._router.began(index)
        answer = asyncio.ensure_future(answer_of(ref))
        try:
            while not answer.done():
                if care is not None and watch.left_s(care.hang_s) == 0.0:
                    await self._check_hung(index, handle, watch, care)
                await asyncio.wait({answer}, timeout=None if care is None else watch.left_s(care.hang_s))
            return answer.result()
        finally:
            watch.end(finished=answer.done())
            if self._watches.get(index) is watch:
                self._router.ended(index)
            if asked.is_work and not answer.done():
                stop(ref)
            answer.cancel()

    async def _check_hung(self, index: int, handle: ActorHandle, watch: Watch, care: Care) -> None:
        """Return if it only takes long. Otherwise kill it, which ends its other calls too, and raise ActorGone.

        One that has left finishes what it was doing, and is asked like any other.
        """
        answer_s = care.hang_s if watch.has_answered else max(care.hang_s, self._ready_s - care.hang_s)  # it loads
        if care.asks_first and (index in self._healthy or self._has_left(index, watch)):
            watch.since_s = asyncio.get_running_loop().time()  # the other calls wait for this answer
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(answer_s):
                    await self._ready(handle)
                    watch.has_answered = True
                    return
        if self._has_left(index, watch):
            ray.kill(handle)
        else:
            self._end(index, handle, "it hung")
        raise ActorGone(f"{self.role} actor {index} finished nothing for {care.hang_s:g} s and was killed")

    def _has_left(self, index: int, watch: Watch) -> bool:
        """Whether the actor with this watch is not the pool's any more; another one may have its number."""
        return self._watches.get(index) is not watch

    @property
    def healthy(self) -> tuple[int, ...]:
        """Numbers of the actors in use."""
        return tuple(sorted(self._healthy))

    @property
    def members(self) -> tuple[int, ...]:
        """Numbers of all actors: in use, or about to be."""
        return tuple(sorted(self.handles))

    async def nodes(self) -> dict[int, str]:
        """Where the actors in use run: number -> id of the node [hex]. One that does not answer soon is left out."""
        return await nodes_of({index: self.handles[index] for index in self.healthy})

    async def wait_ready(self) -> None:
        """Return once every actor has been built, one that died meanwhile again.

        Raises:
            WorkersGone: One of them cannot be built, or is not within `Upkeep.ready_s` of the start or of its death.
        """
        for index in self.members:
            try:
                async with ready_within(self._ready_s, self.role, index):  # all are being built: none has less time
                    await self._call(index, None, Asked(method="ready", args=self._greeting()))
            except WorldError as error:
                is_lost = isinstance(error, ActorGone) and was_lost(error.__cause__)
                if not is_lost or not await self._returns(index):
                    raise WorkersGone(f"{self.role} actor {index} cannot be built: {error.message}") from error

    async def _returns(self, index: int) -> bool:
        """Whether the actor is in use again, or will not be for a while. Raises WorkersGone when that takes too long."""
        async with ready_within(self._ready_s, self.role, index):
            while index in self._returning.keys() - self._resting:
                self._changed.clear()
                await self._changed.wait()
        return index in self._healthy

    async def ready_again(self) -> None:
        """Let every actor know what has changed; return when those in use do. One that returns knows it before it serves."""
        self._news += 1
        await asyncio.gather(*(self._is_well(index) for index in self.healthy))

    def look(self) -> None:
        """Find out in the background which idle actors are dead; a call in flight finds out by itself."""
        for index in self._healthy - self._looks.keys():
            self._looks[index] = asyncio.ensure_future(self._is_well(index))
            self._looks[index].add_done_callback(lambda _, index=index: self._looks.pop(index, None))

    async def add(self) -> int:
        """Raise another actor, and use it once it is ready. Returns its number, which nobody had before."""
        index = self._next
        handle = None if self._upkeep is None else await self._upkeep.raise_actor(index)
        if handle is None:
            raise ValueError(f"the {self.role} pool has nobody to raise another actor")
        self.join(handle, index)
        self._healthy.discard(index)
        self._returning[index] = asyncio.ensure_future(self._come_back(index, wait_s=0.0))
        return index

    def join(self, handle: ActorHandle, index: int) -> None:
        """Use another actor, which is ready."""
        self._next = max(self._next, index + 1)
        self.handles[index] = handle
        self._watches[index] = Watch()
        self._router.join(index)
        self._healthy.add(index)
        self._changed.set()

    def leave(self, index: int) -> Leaving:
        """Use an actor no more. What it is doing goes on."""
        is_well = index in self._healthy
        self._healthy.discard(index)
        self._router.leave(index)
        self._deaths.forget(index)
        self._resting.discard(index)
        returning = self._returning.pop(index, None)
        if returning is not None:
            returning.cancel()
        self._changed.set()
        return Leaving(index=index, handle=self.handles.pop(index), watch=self._watches.pop(index), is_well=is_well)

    async def dismiss(self, leaving: Leaving) -> object:
        """Wait for the calls of an actor that leaves, hear its last word (`retire`), kill it. None from one that is dead."""
        word = await leaving.last_word(self.role)
        ray.kill(leaving.handle)
        log.info("%s actor %d has left after %d calls", self.role, leaving.index, leaving.watch.served)
        return word

    async def close(self) -> None:
        """Let the actors close what they hold open, as far as they still can, then kill them."""
        await asyncio.gather(*(self.call_on(index, "close") for index in sorted(self._healthy)), return_exceptions=True)
        self.stop()

    def stop(self) -> None:
        """Kill the actors; the pool is of no use afterwards."""
        for index in list(self.handles):
            ray.kill(self.leave(index).handle)

    async def _pick(self, sticky: int | None, near: Near | None) -> int:
        if not self._healthy:
            await self._wait_for_any()
        if near is not None:
            return self._router.near(near.key, self._healthy, slack=near.slack)
        return self._router.idlest(self._healthy) if sticky is None else home(sticky, self._healthy)

    async def _wait_for_any(self) -> None:
        """Return when some actor is in use. Raises WorkersGone when none is about to be, or takes too long."""
        try:
            async with asyncio.timeout(self._ready_s):
                while not self._healthy:
                    is_patient = self._upkeep is not None and self._upkeep.restarts is None
                    if not is_patient and not self._returning.keys() - self._resting:
                        raise none_left(self.role, "each is dead and out of restarts")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise none_left(self.role, f"none came back within {self._ready_s:g} s") from error

    @property
    def _ready_s(self) -> float:
        return READY_S if self._upkeep is None else self._upkeep.ready_s

    async def _is_well(self, index: int) -> bool:
        """Whether it answers `ready`; one that does not is suspended, and knows everything new when it returns."""
        try:
            await self.call_on(index, "ready", *self._greeting())
        except WorldError as error:
            log.debug("%s actor %d: %s", self.role, index, error)
            return False
        return True

    def _end(self, index: int, handle: ActorHandle, why: str) -> None:
        """Kill an actor that lives and is of no use; it returns like one that died. One that is returning is left alone."""
        if self.handles.get(index) is handle and index in self._healthy:
            ray.kill(handle, no_restart=False)
            self._suspend(index, why)

    def _suspend(self, index: int, why: str) -> None:
        self._healthy.discard(index)
        if index in self.handles and index not in self._returning:
            log.warning("%s actor %d is gone; waiting for its restart: %s", self.role, index, why)
            self._deaths.note(index)
            self._returning[index] = asyncio.ensure_future(self._come_back(index, wait_s=READY_POLL_S))

    async def _come_back(self, index: int, *, wait_s: float) -> None:
        """Use the actor once it is ready, or another one in its place. `wait_s`: a killed one may answer once more."""
        try:
            await asyncio.sleep(wait_s)
            is_ready = self._deaths.rest_s(index) == 0.0 and await self._becomes_ready(index)
            while not is_ready and await self._replace(index):
                is_ready = await self._becomes_ready(index)
            if is_ready:
                self._watches[index].has_answered = True
                self._healthy.add(index)
                log.warning("%s actor %d %s", self.role, index, "is back" if wait_s else "is in use")
        finally:
            if self._returning.get(index) is asyncio.current_task():  # it may have left meanwhile
                del self._returning[index]
            self._changed.set()

    async def _becomes_ready(self, index: int) -> bool:
        """Poll `ready` until it answers knowing all that is new. False when another actor should take its place."""
        handle, upkeep = self.handles[index], self._upkeep
        try:
            async with asyncio.timeout(None if upkeep is None else upkeep.ready_s):
                while self._deaths.rest_s(index) == 0.0:
                    news = self._news
                    try:
                        await self._ready(handle)
                    except RayTaskError:
                        log.exception("%s actor %d cannot be built; trying again", self.role, index)
                        self._deaths.note(index)
                        ray.kill(handle, no_restart=False)
                        await asyncio.sleep(READY_POLL_S)
                    except RayError as error:
                        if is_over(error, can_replace=self._upkeep is not None):
                            log.exception("%s actor %d cannot be restarted, or is out of restarts", self.role, index)
                            if error.actor_init_failed:
                                self._deaths.note(index)
                            return False
                        await asyncio.sleep(READY_POLL_S)
                    else:
                        if news == self._news:
                            return True
        except TimeoutError:
            log.exception("%s actor %d did not come back within %g s", self.role, index, self._ready_s)
        except Exception:
            log.exception("%s actor %d cannot be asked whether it is ready", self.role, index)
            self._deaths.note(index)
            await asyncio.sleep(READY_POLL_S)
        return False

    async def _replace(self, index: int) -> bool:
        """Raise another actor in its place, after a rest if it died too often. False when there is nobody to do it.

        What cannot be raised (the head restarts) counts as one more death and is tried again.
        """
        while self._upkeep is not None:
            try:
                ray.kill(self.handles[index])
                await self._rest(index, self._upkeep)
                handle = await self._upkeep.raise_actor(index)
            except Exception:
                log.exception("no actor can be raised in the place of %s actor %d; trying again", self.role, index)
                self._deaths.note(index)
                await asyncio.sleep(RAISE_AGAIN_S)
            else:
                if handle is not None:
                    self.handles[index] = handle
                return handle is not None
        return False

    async def _rest(self, index: int, upkeep: Upkeep) -> None:
        """Until it has not died too often any more."""
        rest_s = self._deaths.rest_s(index)
        if rest_s:
            log.error(
                "%s actor %d died more than %s times in %g s; it rests for %.0f s",
                *(self.role, index, upkeep.restarts, upkeep.window_s, rest_s),
            )
            self._resting.add(index)
            self._changed.set()
            await asyncio.sleep(rest_s)
            self._resting.discard(index)

    def _ready(self, handle: ActorHandle) -> ray.ObjectRef[object]:
        return cast("Method", handle.ready).remote(*self._greeting())
