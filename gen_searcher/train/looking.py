"""Searches that look at their own picture: answer -> drawing -> revision, in front of whatever draws and judges.

search -> Trajectory -> generate -> OwnPicture -> revise -> Trajectory        is a `Searcher`, so no loop knows of it
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from gen_searcher.agent.revision import may_look
from gen_searcher.config.agent import AgentConfig
from gen_searcher.drawing import Capability, OwnPicture
from gen_searcher.errors import GeneratorRefused
from gen_searcher.grpo.pictures import same_picture
from gen_searcher.protocols import Generator, Reviser, Searcher
from gen_searcher.train.attempt import PictureSeed, member_seed
from gen_searcher.train.thrifty import REMEMBERED
from gen_searcher.types import Grounding, ImageRef, Task, Trajectory

DRAWINGS = 4096
"""Finished drawings that are remembered; more than are between a look and its verdict at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRules:
    """When and how a picture is shown."""

    agent: AgentConfig
    max_images: int
    """Most pictures in the policy's context."""
    picture_seed: PictureSeed = member_seed
    """What is shown is drawn with the seed of what is judged: an answer that stays has one picture."""
    capability: Capability | None = None
    """Of the generator; None for one that declares nothing."""


class LookingSearcher:
    """A `Searcher` whose policy is shown the picture drawn from its answer and may hand in another one."""

    def __init__(self, searcher: Searcher, reviser: Reviser, generator: Generator, *, rules: LookRules) -> None:
        """`searcher` answers, `generator` draws, `reviser` looks."""
        self._searcher = searcher
        self._reviser = reviser
        self._generator = generator
        self._rules = rules
        self._found: OrderedDict[tuple[str, int], Trajectory] = OrderedDict()

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """One trajectory. Waits for the search, the drawing and the second answer; their WorldErrors pass through.

        An answer whose drawing is lost is kept for the next try. One that the generator declines is not looked at: who
        draws and judges it meets the same refusal and scores it.
        """
        at = (task.id, seed)
        first = self._found.get(at)
        if first is None:
            first = self._found[at] = await self._searcher.search(task, seed=seed)
        while len(self._found) > REMEMBERED:
            self._found.popitem(last=False)
        looked = await self._look(task, first, seed=seed)
        self._found.pop(at, None)
        return looked

    async def _look(self, task: Task, first: Trajectory, *, seed: int) -> Trajectory:
        rules = self._rules
        if first.grounding is None or not may_look(first, rules.agent, max_images=rules.max_images):
            return first
        asked_s, own = asyncio.get_running_loop().time(), rules.picture_seed(task, seed)
        try:
            image = await self._generator.generate(first.grounding, seed=own)
        except GeneratorRefused:
            return first
        drawn = OwnPicture(
            image=image,
            cost_usd=0.0 if rules.capability is None else rules.capability.of(own).usd_per_picture,
            latency_s=asyncio.get_running_loop().time() - asked_s,
        )
        return await self._reviser.revise(first, drawn, seed=seed)


class RememberedDrawings:
    """A `Generator` that is asked once per grounding and seed, so that the picture which was shown is the one judged.

    An image worker remembers as well, but it may die in between, and a hosted model draws another picture then.
    """

    def __init__(self, generator: Generator, *, remembered: int = DRAWINGS) -> None:
        """`generator` is asked for what is not among the `remembered` last drawings."""
        self._generator = generator
        self._remembered = remembered
        self._drawn: OrderedDict[tuple[tuple[str, ...], int], ImageRef] = OrderedDict()

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """One picture. Raises GeneratorError."""
        order = (same_picture(grounding), seed)
        if order not in self._drawn:
            self._drawn[order] = await self._generator.generate(grounding, seed=seed)
        self._drawn.move_to_end(order)
        while len(self._drawn) > self._remembered:
            self._drawn.popitem(last=False)
        return self._drawn[order]
