"""A rollout worker: one policy engine and the agent that drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen_searcher.agent.loop import Agent
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import ToolPool
from gen_searcher.cluster.weights import WeightBoard
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.policy import PolicyConfig
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Task, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """What a rollout worker is built from."""

    policy_folder: str
    policy: PolicyConfig
    agent: AgentConfig
    images: str
    """Folder of the image store."""
    weights: str
    """Folder of the weight board."""
    threads: int


class RolloutActor:
    """`Searcher` behind an actor. A restarted worker loads the current weights before it says it is ready."""

    def __init__(self, spec: RolloutSpec, tool_handles: list[Any]) -> None:
        """Build the engine; this takes seconds."""
        store = ImageStore(Path(spec.images))
        self._board = WeightBoard(Path(spec.weights))
        self._engine = VllmPolicy(spec.policy, Path(spec.policy_folder), store=store, threads=spec.threads)
        self._tools = Pool("tool", tool_handles, stage="tool", wraps_plugs=True)
        self._agent = Agent(self._engine, ToolPool(self._tools), folder=Path(spec.policy_folder), config=spec.agent)
        self._version = -1

    async def ready(self) -> bool:
        """True once new tokens come from the published weights."""
        current = self._board.current()
        if current is not None and current.version != self._version:
            await self.load_current_weights(current.version)
        return True

    async def search(self, task: Task, seed: int) -> Trajectory:
        """One trajectory."""
        return await self._agent.search(task, seed=seed)

    async def load_current_weights(self, version: int) -> None:
        """Take the weights on the board."""
        current = self._board.current()
        if current is None or current.version != version:
            raise RuntimeError(f"asked for weights {version}, the board holds {current}")
        await self._engine.load_weights(current.version, current.source)
        self._version = current.version
