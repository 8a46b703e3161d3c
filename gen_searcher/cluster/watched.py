"""One actor as its pool sees it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError

from gen_searcher.cluster.failures import reason_of
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import note

log = logging.getLogger(__name__)

LAST_WORD_S = 600.0
"""Longest wait for what an actor says when it leaves: it may have work from others than its pool."""
NODE_S = 10.0
"""Longest wait for an actor to say where it is; one that computes is asked again later."""


class Method(Protocol):
    """Of an actor."""

    def remote(self, *args: object, **kwargs: object) -> ray.ObjectRef[object]:
        """Begin the call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call."""

    method: str
    args: tuple[object, ...]
    kwargs: Mapping[str, object] = field(default_factory=dict[str, object])
    is_work: bool = False
    """It serves nobody but its caller and may be cancelled at any point; loading weights and a learner's step may not."""

    def begin(self, handle: ActorHandle) -> ray.ObjectRef[object]:
        """Make it."""
        return cast("Method", getattr(handle, self.method)).remote(*self.args, **self.kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """When an actor hangs, and what becomes of its calls."""

    hang_s: float
    """Longest time without any finished call while there are calls."""
    repeats: bool = True
    """A call that lost its actor is made once more: the same request gives the same answer and is not paid for twice."""
    asks_first: bool = False
    """Its calls may take any time (a long trajectory, a provider that asks for patience): an actor that still answers
    `ready`, within `hang_s` again, does not hang. One that has never answered may be loading its model, for as long as the
    pool's upkeep allows."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """Of one actor: how many calls it has, and when one last came back or the first one came."""

    calls: int = 0
    """In flight."""
    served: int = 0
    """Calls for its role that came back; others than `ready` and the like."""
    has_answered: bool = False
    """It is built: some call came back."""
    since_s: float = 0.0
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last call came back."""

    def begin(self) -> None:
        """It got a call."""
        if self.calls == 0:
            self.since_s = asyncio.get_running_loop().time()
            self.idle.clear()
        self.calls += 1

    def end(self, *, finished: bool) -> None:
        """A call came back, or was given up."""
        self.calls -= 1
        if finished:
            self.has_answered = True
            self.since_s = asyncio.get_running_loop().time()
        if self.calls == 0:
            self.idle.set()

    @contextmanager
    def working(self) -> Generator[None]:
        """A call, for the length of the block."""
        self.begin()
        try:
            yield
        finally:
            self.end(finished=True)

    async def none(self) -> None:
        """Return when there is no call in flight."""
        if self.calls:
            await self.idle.wait()

    def left_s(self, hang_s: float) -> float:
        """Seconds until it has finished nothing for `hang_s`."""
        return max(0.0, self.since_s + hang_s - asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An actor that gets no more calls."""

    index: int
    handle: ActorHandle
    watch: Watch
    is_well: bool

    async def last_word(self, role: str) -> object:
        """What it says to `retire` once its calls have come back. None from one that is dead or says nothing."""
        if not self.is_well:
            return None
        await self.watch.none()  # each of them ends, at the latest by the deadline of its attempt
        try:
            async with asyncio.timeout(LAST_WORD_S):
                return await cast("Method", self.handle.retire).remote()
        except (RayError, TimeoutError) as error:
            log.warning("%s actor %d left without a word: %s", role, self.index, reason_of(error))
            return None


async def nodes_of(handles: Mapping[int, ActorHandle]) -> dict[int, str]:
    """Where actors run: number -> id of the node [hex]. One that does not answer soon is left out."""
    answers = await asyncio.gather(*map(_node_of, handles.values()))
    return {index: node for index, node in zip(handles, answers, strict=True) if node is not None}


async def _node_of(handle: ActorHandle) -> str | None:
    ask = cast("Method", handle.__ray_call__)
    with suppress(RayActorError, TimeoutError):
        async with asyncio.timeout(NODE_S):
            return str(await ask.remote(_here))
    return None


def _here(actor: object) -> str:
    del actor
    return ray.get_runtime_context().get_node_id()


def goes_to(index: int) -> None:
    """Say in the caller's trace which actor of the pool gets the call; of one that is made twice, the second."""
    note({names.WORKER: index})


async def answer_of(ref: ray.ObjectRef[object]) -> object:
    """A coroutine of what Ray only lets await."""
    return await ref


def stop(ref: ray.ObjectRef[object]) -> None:
    """End a call in its actor, where an `asyncio.CancelledError` is raised; what it has asked others for, it gives up itself.

    Ray tries, and promises nothing: a call that ends at the same time has ended.
    """
    if ray.is_initialized():  # otherwise the actors are gone, and the question would begin a cluster
        ray.cancel(ref, recursive=False)
