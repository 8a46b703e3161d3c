"""What a pool is to the loop: a pool of searchers is a `Searcher`, a pool of generators a `Generator`, and so on."""

from __future__ import annotations

from typing import cast

from gen_searcher.cluster.pool import Pool
from gen_searcher.drawing import OwnPicture
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import Attributes, carried, span
from gen_searcher.train.routing import ALWAYS, SHARED_PREFIX_CALLS, Near
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.traced import searched
from gen_searcher.types import Grounding, ImageRef, Judgement, Task, ToolCall, ToolResult, Trajectory


class RolloutPool:
    """vLLM rollout workers as one `Searcher` and one `Reviser`.

    Attempts at one task share a prefix and go to one worker, until others have clearly less to do.
    """

    def __init__(self, pool: Pool) -> None:
        """`pool` holds `RolloutActor`s."""
        self._pool = pool

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """One trajectory from one worker."""
        near = Near(key=derive_seed("rollout", task.id), slack=SHARED_PREFIX_CALLS)
        with span("invoke_agent search", _agent("search", task.id, seed), kind="client") as this:
            found = cast("Trajectory", await self._pool.call("search", task, seed, near=near, **carried()))
            this.note(searched(found))
            return found

    async def revise(self, trajectory: Trajectory, drawn: OwnPicture, *, seed: int) -> Trajectory:
        """One more turn, by the worker that still has the context."""
        near = Near(key=derive_seed("rollout", trajectory.task_id), slack=SHARED_PREFIX_CALLS)
        with span("invoke_agent look", _agent("look", trajectory.task_id, seed), kind="client") as this:
            asked = self._pool.call("revise", trajectory, drawn, seed, near=near, **carried())
            revised = cast("Trajectory", await asked)
            this.note(searched(revised))
            return revised


class GeneratorPool:
    """Image models as one `Generator`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` holds `GeneratorActor`s."""
        self._pool = pool

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """One picture; equal groundings go to one worker, which draws them once."""
        key = derive_seed("generate", grounding.gen_prompt, *(ref.image.sha256 for ref in grounding.references))
        near = Near(key=key, slack=ALWAYS)
        with span("draw", {names.REFERENCES: len(grounding.references)}, kind="client") as this:
            image = cast("ImageRef", await self._pool.call("generate", grounding, seed, near=near, **carried()))
            this.note({names.PICTURE: image.sha256})
            return image


class JudgePool:
    """Reward workers as one `Judge`; each worker holds all judges."""

    def __init__(self, pool: Pool, name: str) -> None:
        """`pool` holds `RewardActor`s; `name` is the judge's."""
        self._pool = pool
        self._name = name

    @property
    def name(self) -> str:
        """The judge's name."""
        return self._name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """One verdict."""
        with span(f"judge {self._name}", {names.EVALUATION: self._name}, kind="client") as this:
            asked = self._pool.call("judge", self._name, task, trajectory, image, **carried())
            verdict = cast("Judgement", await asked)
            this.note(
                {names.SCORE: verdict.score, names.RESPONSE_MODEL: verdict.model, names.COST_USD: verdict.cost_usd}
            )
            return verdict


class ToolPool:
    """Tool workers as one `Tools`. All attempts at one task stay with one worker, whose caches pay once for them."""

    def __init__(self, pool: Pool) -> None:
        """`pool` holds `ToolActor`s."""
        self._pool = pool

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        """One tool call. Queries and pages overlap between calls that are not equal, so the task decides."""
        task_id, _, _ = trajectory_id.rpartition(":")
        sticky = derive_seed("tool", task_id)
        return cast("ToolResult", await self._pool.call("call", call, trajectory_id, sticky=sticky, **carried()))


def _agent(name: str, task_id: str, seed: int) -> Attributes:
    return {names.OPERATION: "invoke_agent", names.AGENT: name, names.CONVERSATION: f"{task_id}:{seed}"}
