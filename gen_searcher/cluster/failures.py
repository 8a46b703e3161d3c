"""What Ray says about a call that failed -> what the caller gets to hear."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeGuard, cast

from ray.exceptions import ActorDiedError, RayError, RayTaskError

from gen_searcher.errors import UserError, WorkersGone, WorldError, disk_trouble


def failure_in(error: RayTaskError, *, stage: str | None) -> Exception | None:
    """What to raise for what an actor raised; None: a bug of ours, which goes on as it is.

    `stage`: where an actor that runs somebody else's code works; None for one that runs only ours.
    """
    cause = cast("object", error.cause)
    if isinstance(cause, WorldError | UserError):
        return cause
    trouble = disk_trouble(cause) if isinstance(cause, OSError) else None
    if trouble is not None:
        return trouble
    return None if stage is None else WorldError(str(error), stage)


def is_ours(error: RayError) -> bool:
    """Whether it is a bug that an actor ran into, and no trouble of Ray's, here or where the actor is."""
    return isinstance(error, RayTaskError) and not isinstance(cast("object", error.cause), RayError)


def was_lost(cause: BaseException | None) -> bool:
    """Whether an actor that was being built died of something else than its constructor."""
    return isinstance(cause, RayError) and not (isinstance(cause, ActorDiedError) and cause.actor_init_failed)


def is_over(error: RayError, *, can_replace: bool) -> TypeGuard[ActorDiedError]:
    """Whether an actor that does not answer is to be given up.

    Ray also says that an actor died when it has waited two seconds in vain for the head to tell what became of it: it names
    no class then, and may still restart the actor. Where nobody can raise another in its place (`can_replace`), it is asked
    again.
    """
    return isinstance(error, ActorDiedError) and (can_replace or "\tclass_name: \n" not in str(error))


def none_left(role: str, why: str) -> WorkersGone:
    """What a run ends with when nobody is left to do its work."""
    return WorkersGone(
        f"no {role} actor is left: {why}; the log says more. Mend the cause and run the same command again "
        "(cluster.restarts, cluster.ready_timeout_s)"
    )


@asynccontextmanager
async def ready_within(ready_s: float, role: str, index: int) -> AsyncGenerator[None]:
    """End the run when a worker's build hangs: a shared disk that stalls, a download without an end. Raises WorkersGone."""
    try:
        async with asyncio.timeout(ready_s):
            yield
    except TimeoutError as error:
        raise WorkersGone(
            f"{role} worker {index} was not ready within {ready_s:g} s; the log says what it was doing. If its model takes "
            "longer to load, raise cluster.ready_timeout_s; run the same command again"
        ) from error


def reason_of(error: BaseException) -> str:
    """Ray's first line; what a constructor has raised stands in the last one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0].partition(', ray::')[0]}: {lines[-1]}" if "creation task" in lines[0] else lines[0]
