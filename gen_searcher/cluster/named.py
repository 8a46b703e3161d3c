"""Tool workers as a rollout worker knows them: by number and name, and which of them there are changes as the run goes on."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.upkeep import Upkeep

log = logging.getLogger(__name__)

Names = Mapping[int, str]
"""Number of each tool worker -> its name. A number stays with a place; the worker in it, and its name, may change."""


class NamedTools:
    """A pool that follows what the driver says. The driver raises and retires; this only looks names up."""

    def __init__(self, names: Names, *, ready_s: float) -> None:
        """`names` hold until `follow` says otherwise; `ready_s` is how long to wait for news when all workers are dead."""
        self._names = dict(names)
        self._used: dict[int, str] = {}
        upkeep = Upkeep(raise_actor=_wait_for_the_driver, ready_s=ready_s)
        self.pool = Pool("tool", [], stage="tool", wraps_plugs=True, upkeep=upkeep)

    def follow(self, names: Names | None) -> None:
        """Use exactly these; None: those of before."""
        if names is not None:
            self._names = dict(names)
        for number in [number for number, name in self._used.items() if self._names.get(number) != name]:
            self.pool.leave(number)
            del self._used[number]
        for number in self._names.keys() - self._used.keys():
            handle = _find(self._names[number])
            if handle is not None:
                self.pool.join(handle, number)
                self._used[number] = self._names[number]


async def _wait_for_the_driver(number: int) -> ActorHandle | None:
    """Only the driver raises another one; `follow` then takes the place away from whoever waits here."""
    log.warning("tool actor %d is dead; waiting for the driver to name another one", number)
    await asyncio.Event().wait()
    return None


def _find(name: str) -> ActorHandle | None:
    """None when it has died already; the next names say who came in its place."""
    try:
        return ray.get_actor(name)
    except ValueError:
        log.warning("there is no actor %s", name)
        return None
