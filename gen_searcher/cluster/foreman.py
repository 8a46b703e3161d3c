"""While the run goes on: as many workers of each role as are wanted, and none on nodes that are about to go.

    scale.json -> numbers -> Pool.add, Pool.leave        draining nodes -> the same, one for one

Which worker serves an attempt changes nothing of it: seeds, weights and tool answers are those of the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Never, TypeVar, cast

from ray.exceptions import RayError

from gen_searcher.abandoned import can_be_abandoned
from gen_searcher.cluster.draining import draining_nodes
from gen_searcher.cluster.failures import is_ours
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.watched import Leaving
from gen_searcher.config.scale import parse_scale, scale_text
from gen_searcher.errors import ConfigError
from gen_searcher.tools.meter import Reading

log = logging.getLogger(__name__)

T = TypeVar("T")
WATCH_S = 2.0
"""Between two looks. A step takes minutes and the notice of a spot node is given 30 s to 2 min before it goes; a look costs
the reading of one small file and one question to Ray."""


class Foreman:
    """Keeps the pools of one run."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        *,
        scale_file: Path,
        names: Callable[[], Mapping[int, str]],
        note: Callable[[str], None] = lambda _: None,
        learner_nodes: frozenset[str] = frozenset(),
        on_learner_leaves: Callable[[], None] = lambda: None,
        draining: Callable[[], frozenset[str]] = draining_nodes,
        every_s: float = WATCH_S,
    ) -> None:
        """Watch the pools.

        Args:
            pools: By role: `rollout`, `generator`, `reward`, `tool`.
            scale_file: What people write the wanted numbers into; it need not exist.
            names: The tool workers that rollout workers are to call.
            note: Keeps a line about who joins and who leaves.
            learner_nodes: Where the learner's ranks run; they cannot move.
            on_learner_leaves: Called when such a node drains.
            draining: Names the nodes that are about to go; may block for a moment.
            every_s: Between two looks.
        """
        self._pools = pools
        self._file = scale_file
        self._names = names
        self._told = dict(names())
        self._note = note
        self._learner_nodes = learner_nodes
        self._on_learner_leaves = on_learner_leaves
        self._ask_draining = draining
        self._every_s = every_s
        self._wanted = {role: len(pool.members) for role, pool in pools.items()}
        self._read: str | None = None
        self._trouble = ""
        self._draining: frozenset[str] = frozenset()
        self._leaving: set[asyncio.Task[None]] = set()
        self._last_words: list[Reading] = []

    async def beside(self, work: Coroutine[object, object, T]) -> T:
        """Keep the pools for as long as the work takes; a failure of either ends both."""
        working, watching = asyncio.ensure_future(work), asyncio.ensure_future(self._watch())
        both = (working, watching)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else watching.result()
        finally:
            for task in (*both, *self._leaving):
                task.cancel()
            await asyncio.gather(*both, *self._leaving, return_exceptions=True)

    def workers(self) -> dict[str, float]:
        """How many are in use, as metrics."""
        return {f"cluster/{role}_workers": float(len(pool.healthy)) for role, pool in self._pools.items()}

    def last_words(self) -> list[Reading]:
        """What workers that have left counted and nobody read; once."""
        taken, self._last_words = self._last_words, []
        return taken

    async def _watch(self) -> Never:
        while True:
            try:
                await self._look()
            except RayError as error:  # the head restarts, say: the run goes on with the workers that it has
                if is_ours(error):
                    raise
                log.warning("nobody joins or leaves at this look: %s", error)
            await asyncio.sleep(self._every_s)

    async def _look(self) -> None:
        await self._read_numbers()
        for role, pool in self._pools.items():
            await self._resize(role, pool)
        await self._leave_draining_nodes()
        self._pools["tool"].look()
        await self._tell_rollouts()

    async def _read_numbers(self) -> None:
        """Take over what the file says, when it says something new that can be understood."""
        try:
            text = await asyncio.to_thread(scale_text, self._file)
        except ConfigError as error:
            if str(error) != self._trouble:  # said once, not at every look
                log.error("nothing is changed: %s", error)
            self._trouble = str(error)
            return
        self._trouble = ""
        if text is None or text == self._read:
            return
        self._read = text
        try:
            asked = parse_scale(text, source=self._file)
        except ConfigError as error:
            log.error("nothing is changed: %s", error)
            return
        self._say(f"{self._file.name} asks for {asked}")
        self._wanted = {role: asked.named.get(f"{role}_workers", wanted) for role, wanted in self._wanted.items()}

    async def _resize(self, role: str, pool: Pool) -> None:
        wanted = self._wanted[role]
        while len(pool.members) < wanted:
            self._say(f"{role} worker {await pool.add()} is raised: {wanted} are wanted")
        surplus = len(pool.members) - wanted
        least_useful_first = sorted(pool.members, key=lambda index: (index in pool.healthy, -index))
        for index in least_useful_first[: max(0, surplus)]:
            self._say(f"{role} worker {index} leaves: {wanted} are wanted")
            await self._dismiss(role, pool, index)

    async def _leave_draining_nodes(self) -> None:
        draining = await can_be_abandoned(self._ask_draining)
        for node in sorted(draining - self._draining):
            self._say(f"node {node} is draining: its workers get no new work, and others are raised in their place")
            if node in self._learner_nodes:
                log.warning("the learner is on it and cannot move: the run is saved and ends with code 75")
                self._on_learner_leaves()
        self._draining = draining
        if not draining:
            return
        for role, pool in self._pools.items():
            for index, node in (await pool.nodes()).items():
                if node in draining:
                    self._say(f"{role} worker {index} leaves a draining node for worker {await pool.add()}")
                    await self._dismiss(role, pool, index)

    async def _dismiss(self, role: str, pool: Pool, index: int) -> None:
        """No new work from here or, for a tool worker, from a rollout worker; what it has is finished in the background."""
        leaving = pool.leave(index)
        try:
            if role == "tool":
                await self._tell_rollouts()
        finally:  # one that not everybody has heard of leaves all the same
            task = asyncio.ensure_future(self._finish(pool, leaving))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _finish(self, pool: Pool, leaving: Leaving) -> None:
        word = await pool.dismiss(leaving)
        if word is not None:
            self._last_words.append(cast("Reading", word))

    def _say(self, text: str) -> None:
        log.info("%s", text)
        self._note(text)

    async def _tell_rollouts(self) -> None:
        """Name the tool workers anew when they are others than before."""
        names = dict(self._names())
        if names != self._told:
            await self._pools["rollout"].ready_again()
            self._told = names
