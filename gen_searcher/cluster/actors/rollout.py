"""A rollout worker: one policy engine and the agent that drives it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gen_searcher.agent.look import Looker
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.agent.traced import TracedEngine
from gen_searcher.cluster.actors.traced import TracedActor, trace_actor
from gen_searcher.cluster.named import NamedTools, Names
from gen_searcher.cluster.once import Once
from gen_searcher.cluster.roles import ToolPool
from gen_searcher.cluster.weights import WeightBoard, WeightFollower
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.policy import PolicyConfig
from gen_searcher.config.redaction import guard_process
from gen_searcher.drawing import OwnPicture
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.log_fields import log_fields
from gen_searcher.metrics.traces.process import TraceSetup, flush
from gen_searcher.metrics.traces.spans import under
from gen_searcher.points import Point, passed
from gen_searcher.tools.meter import Reading
from gen_searcher.types import Task, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """What a rollout worker is built from."""

    policy_folder: str
    policy: PolicyConfig
    agent: AgentConfig
    images: str
    """Folder of the image store."""
    tool_names: Names
    """The tool workers at first: handles among an actor's arguments would not survive its restart."""
    tools_ready_s: float
    """Longest wait for a tool worker when all of them are dead."""
    weights: str | None
    """Folder of the weight board; None to serve the policy folder as it is."""
    max_prompt_chars: int | None
    """Longest prompt that the generator takes; None takes any."""
    trace: TraceSetup | None = None
    """None: no traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    engine: VllmPolicy
    agent: Agent
    looker: Looker


class RolloutActor(TracedActor):
    """`Searcher` and `Reviser` behind an actor. A restarted worker loads the current weights before it serves anything."""

    def __init__(self, spec: RolloutSpec) -> None:
        """Nothing is built yet: the first call starts the engine, which takes seconds."""
        guard_process()
        trace_actor(spec.trace, role="rollout")
        self._follower = WeightFollower(None if spec.weights is None else WeightBoard(Path(spec.weights)))
        self._tools = NamedTools(spec.tool_names, ready_s=spec.tools_ready_s)
        self._parts = Once(lambda: _build(spec, self._follower, self._tools))

    async def ready(self, tool_names: Names | None = None) -> bool:
        """True once new tokens come from the published weights, and tool calls go to these tool workers.

        Raises:
            EngineDead: Nothing but another process of this actor helps, which is for the pool to see to.
        """
        self._tools.follow(tool_names)
        parts = await self._parts()
        await parts.engine.check()
        await self._follower.catch_up(parts.engine)
        return True

    async def search(self, task: Task, seed: int, trace: str | None = None) -> Trajectory:
        """One trajectory. `trace`: the caller's span."""
        with log_fields(task=task.id, attempt=seed), under(trace):
            parts = await self._parts()
            trajectory = await parts.agent.search(task, seed=seed)
        passed(Point.ROLLOUT_FINISHED)
        return trajectory

    async def revise(
        self, trajectory: Trajectory, drawn: OwnPicture, seed: int, trace: str | None = None
    ) -> Trajectory:
        """The trajectory after a look at its picture. `trace`: the caller's span."""
        with log_fields(task=trajectory.task_id, attempt=seed), under(trace):
            parts = await self._parts()
            return await parts.looker.revise(trajectory, drawn, seed=seed)

    async def retire(self) -> Reading:
        """Free the engine; there is nothing to tell."""
        parts = await self._parts()
        await parts.engine.close()
        await flush()
        return {}


async def _build(spec: RolloutSpec, follower: WeightFollower, named: NamedTools) -> _Parts:
    follower.check()  # before the engine takes its time
    store = ImageStore(Path(spec.images))
    engine = await VllmPolicy.start(Path(spec.policy_folder), config=spec.policy, store=store)
    await follower.catch_up(engine)
    named.follow(None)
    agent = Agent(
        engine=TracedEngine(engine),
        tools=ToolPool(named.pool),
        renderer=Renderer.load(Path(spec.policy_folder)),
        config=spec.agent,
        max_images=spec.policy.max_images,
        max_prompt_chars=spec.max_prompt_chars,
    )
    looker = Looker(agent, store, view_side_px=spec.agent.tools.view_side_px)
    return _Parts(engine=engine, agent=agent, looker=looker)
