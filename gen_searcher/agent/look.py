"""A drawing -> the view that the policy gets -> the agent's turn about it."""

from __future__ import annotations

import asyncio

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.revision import TITLE
from gen_searcher.drawing import OwnPicture
from gen_searcher.errors import GeneratorError, disk_trouble
from gen_searcher.image_store import ImageStore
from gen_searcher.tools.images import fit_for_policy
from gen_searcher.types import FoundImage, ToolResult, Trajectory


class Looker:
    """Implements `Reviser` with an agent and the store that holds the drawings."""

    def __init__(self, agent: Agent, store: ImageStore, *, view_side_px: int) -> None:
        """`view_side_px`: longest side of a picture as the policy sees it, that of its tools' pictures."""
        self._agent = agent
        self._store = store
        self._view_side_px = view_side_px

    async def revise(self, trajectory: Trajectory, drawn: OwnPicture, *, seed: int) -> Trajectory:
        """One more turn, see `Agent.revise`. Raises WorldError: the engine, or a drawing that cannot be read."""
        shown = await asyncio.to_thread(show, drawn, store=self._store, view_side_px=self._view_side_px)
        return await self._agent.revise(trajectory, shown, seed=seed)


def show(drawn: OwnPicture, *, store: ImageStore, view_side_px: int) -> ToolResult:
    """The drawing with its view, which is put into the store: the learner reads the pixels that the policy saw."""
    try:
        view = store.put(fit_for_policy(store.get(drawn.image), side_px=view_side_px))
    except (OSError, SyntaxError, ValueError) as error:
        trouble = disk_trouble(error) if isinstance(error, OSError) else None
        raise trouble or GeneratorError(f"the drawing cannot be shown to the policy: {error}") from error
    found = FoundImage(img_id="", title=TITLE, url="", page_url="", image=drawn.image, view=view)
    return ToolResult(text=TITLE, images=(found,), latency_s=drawn.latency_s, cost_usd=drawn.cost_usd)
