"""The workers of one stage: raised when the stage begins, gone when it ends. Only the accounts stay for the session."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

from gen_searcher.agent.look import Looker
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.fleet import Fleet
from gen_searcher.cluster.limits import RemoteAuthority
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import GeneratorPool, JudgePool, RolloutPool, ToolPool
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.data.chat import ChatModel, ChatTeacher
from gen_searcher.data.collect import Teaching, TeachingFor
from gen_searcher.errors import ConfigError
from gen_searcher.protocols import Generator, Judge, PolicyEngine, Reviser, Searcher
from gen_searcher.tools.calling import Caller
from gen_searcher.tools.meter import Meter
from gen_searcher.train.looking import LookingSearcher, LookRules
from gen_searcher.types import Task
from gen_searcher.world.teacher import Teacher, TeacherFlaws


class Workers:
    """Use as `async with`, once per stage. Needs a cluster session."""

    def __init__(self, place: Workplace) -> None:
        """Nothing is raised yet."""
        cfg = place.cfg
        self._place = place
        self._fleet = Fleet(cluster=cfg.cluster, folder=place.folder, limits=cfg.limits, cassette=cfg.cassette)
        self._accounts: Pool | None = None
        self._pools: list[Pool] = []
        self._tools: list[Pool] = []
        self._models: list[ChatModel] = []

    async def __aenter__(self) -> Workers:
        """The accounts first: everybody who pays asks them, and a dead actor's name is not free at once."""
        if self._accounts is None:
            self._accounts = self._fleet.accounts()
        await self._accounts.wait_ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections, then end the workers."""
        await asyncio.gather(*(model.close() for model in self._models), *(tools.close() for tools in self._tools))
        for pool in self._pools:
            pool.stop()
        self._models, self._tools, self._pools = [], [], []

    def caller(self, provider: str, stage: str, *, price_usd: float, timeout_s: float) -> Caller:
        """A door to a paid service under the run's limits: `limits.providers.PROVIDER`. See `Caller`."""
        return Caller(
            provider,
            stage=stage,
            authority=RemoteAuthority(),
            limits=self._place.cfg.limits,
            meter=Meter(),
            holder=f"data-{uuid.uuid4().hex[:8]}",
            price_usd=price_usd,
            timeout_s=timeout_s,
        )

    async def generator(self) -> Generator:
        """The run's."""
        return GeneratorPool(await self._up(self._fleet.generators(self._place.cfg.generator)))

    async def judges(self, plugs: Mapping[str, Plug]) -> list[Judge]:
        """Judges by name."""
        pool = await self._up(self._fleet.rewards(plugs))
        return [JudgePool(pool, name) for name in plugs]

    async def teaching(
        self, teacher: Literal["scripted", "policy", "chat"], *, policy: Path, renderer: Renderer
    ) -> TeachingFor:
        """The teacher, with the run's agent and tools."""
        cfg = self._place.cfg
        pool = await self._up(self._fleet.tools(cfg.search, cfg.agent))
        self._tools.append(pool)
        tools = ToolPool(pool)
        looking = await self._looking()
        most_chars = plug_capability(cfg.generator).max_prompt_chars
        if teacher == "policy":
            rollouts = self._fleet.rollouts(
                policy, cfg.policy, cfg.agent, pool, max_prompt_chars=most_chars, follows_learner=False
            )
            workers = RolloutPool(await self._up(rollouts))
            searcher = looking(workers, workers)
            return lambda task, seed: Teaching(searcher=searcher, name=lambda: f"policy after {policy.parent.name}")

        def taught(engine: PolicyEngine) -> Searcher:
            agent = Agent(
                engine=engine,
                tools=tools,
                renderer=renderer,
                config=cfg.agent,
                max_images=cfg.policy.max_images,
                max_prompt_chars=most_chars,
            )
            return looking(agent, self._looker(agent))

        if teacher == "scripted":
            flaws = TeacherFlaws(
                oversearch=cfg.sft.oversearch,
                first_picture=cfg.sft.first_picture,
                forgets_caption=cfg.sft.forgets_caption,
            )

            def scripted(task: Task, seed: int) -> Teaching:
                engine = Teacher(task, renderer=renderer, flaws=flaws, seed=seed)
                return Teaching(searcher=taught(engine), name=lambda: "the embedded world's script")

            return scripted
        server = cfg.data.collect.chat
        if server is None:
            raise ConfigError("data.collect.chat: missing; the chat teacher needs a server")
        read, written = cfg.agent.max_context_tokens, cfg.agent.max_turn_tokens
        price = (read * server.usd_per_m_input + written * server.usd_per_m_output) / 1e6
        caller = self.caller("chatteacher", "collect", price_usd=price, timeout_s=server.timeout_s)
        model = ChatModel(server, caller, stage="collect")
        self._models.append(model)
        store = self._place.store

        def chat(task: Task, seed: int) -> Teaching:
            engine = ChatTeacher(model, renderer=renderer, store=store)
            return Teaching(searcher=taught(engine), name=lambda: engine.name, cost_usd=lambda: engine.cost_usd)

        return chat

    def _looker(self, agent: Agent) -> Looker:
        return Looker(agent, self._place.store, view_side_px=self._place.cfg.agent.tools.view_side_px)

    async def _looking(self) -> Callable[[Searcher, Reviser], Searcher]:
        """What lets a searcher look at its own pictures; the searcher itself when the settings say that it does not."""
        cfg = self._place.cfg
        if not cfg.agent.looks:
            return lambda searcher, _: searcher
        generator = await self.generator()
        rules = LookRules(agent=cfg.agent, max_images=cfg.policy.max_images, capability=plug_capability(cfg.generator))
        return lambda searcher, reviser: LookingSearcher(searcher, reviser, generator, rules=rules)

    async def _up(self, pool: Pool) -> Pool:
        self._pools.append(pool)
        await pool.wait_ready()
        return pool
