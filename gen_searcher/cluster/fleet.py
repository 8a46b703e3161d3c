"""All actors of one command: a configuration -> pools that look like the protocols."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.actors.generator import GeneratorActor
from gen_searcher.cluster.actors.learner import LearnerActor, LearnerSpec
from gen_searcher.cluster.actors.limits import LIMITS_ACTOR, LimitsActor
from gen_searcher.cluster.actors.reward import RewardActor
from gen_searcher.cluster.actors.rollout import RolloutActor, RolloutSpec
from gen_searcher.cluster.actors.tool import ToolActor, ToolSpec
from gen_searcher.cluster.colocated import SharedDevices
from gen_searcher.cluster.learners import LearnerRanks
from gen_searcher.cluster.named import Names
from gen_searcher.cluster.placement import ANY_NODE, actor_options, packed, spread
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.upkeep import Upkeep
from gen_searcher.cluster.watched import Care
from gen_searcher.cluster.weights import WeightBoard, board_folder
from gen_searcher.config.agent import AgentConfig, SearchConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.cluster import ClusterConfig, RoleConfig
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.policy import PolicyConfig
from gen_searcher.metrics.traces.process import FLUSH_S, TraceSetup
from gen_searcher.train.run import RunFolder

log = logging.getLogger(__name__)

CALLS_AT_ONCE = 1000
"""Async actors queue nothing themselves; the engines behind them do."""
ANSWER_S = 2.0
"""For an actor to be asked and to answer, beside its work."""
ALWAYS = -1
"""Restarts of the accounts, whose state is on the disk: Ray's word for any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Raises the actors of each role when asked; they die with the driver."""

    cluster: ClusterConfig
    folder: RunFolder
    limits: LimitsConfig
    cassette: CassetteConfig
    weights: Path | None = None
    """Where the learner publishes (`publishing_folder`); None: in the run directory."""
    shared: SharedDevices | None = None
    """GPUs that learner ranks and the engines that follow them share; None: each has its own."""
    names: dict[str, dict[int, str]] = field(default_factory=dict[str, dict[int, str]])
    """Of the actors that were raised: role -> number -> name."""
    trace: TraceSetup | None = None
    """None: no traces."""
    traced: list[Pool] = field(default_factory=list[Pool])
    """Pools of actors that trace."""

    def accounts(self) -> Pool:
        """The one actor that says how often providers may be asked; the tool workers find it by name."""
        spend = str(self.folder.root / "spend.json")
        return Pool(
            LIMITS_ACTOR,
            [_actor(LIMITS_ACTOR, LimitsActor, self.limits, spend, options=actor_options(ANY_NODE), restarts=ALWAYS)],
            stage="limits",
            wraps_plugs=False,
        )

    def tools(self, search: SearchConfig, agent: AgentConfig) -> Pool:
        """Tool workers."""
        spec = ToolSpec(
            search=search,
            tools=agent.tools,
            limits=self.limits,
            cassette=self.cassette,
            images=str(self.folder.images),
            tape_folder=self._tape_folder,
            trace=self.trace,
        )

        def one(number: int) -> ActorHandle:
            name = self._name("tool", number)
            return self._worker(name, ToolActor, spec, name, role=self.cluster.roles.tool)

        return self._pool("tool", self.cluster.tool_workers, one, stage="tool", wraps_plugs=True, care=self._patience)

    @property
    def board(self) -> WeightBoard:
        """Where the learner publishes."""
        return WeightBoard(self.weights or self.folder.weights)

    def rollouts(
        self,
        policy_folder: Path,
        policy: PolicyConfig,
        agent: AgentConfig,
        tools: Pool,
        *,
        max_prompt_chars: int | None,
        follows_learner: bool,
    ) -> Pool:
        """Rollout workers that serve a policy folder, or what a learner publishes from there on.

        `max_prompt_chars`: longest prompt that the generator takes; None for one that takes any.
        """
        if follows_learner:
            self.board.clear()  # weights of an earlier process of this run
        spec = RolloutSpec(
            policy_folder=str(policy_folder),
            policy=policy,
            agent=agent,
            images=str(self.folder.images),
            weights=str(self.board.folder) if follows_learner else None,
            tool_names=self.names_of(tools),
            tools_ready_s=self._ready_s,
            max_prompt_chars=max_prompt_chars,
            trace=self.trace,
        )

        shared = self.shared if follows_learner else None

        def one(number: int) -> ActorHandle:
            options = spread(self.cluster.roles.rollout) if shared is None else shared.rollout(number)
            name = self._name("rollout", number)
            return _actor(name, RolloutActor, spec, options=options, restarts=self.cluster.restarts)

        return self._pool(
            "rollout",
            self.cluster.rollout_workers,
            one,
            stage="search",
            care=self._patience,
            greeting=lambda: (self.names_of(tools),),
        )

    def names_of(self, tools: Pool) -> Names:
        """The tool workers that rollout workers are to call."""
        return {number: self.names["tool"][number] for number in tools.healthy}

    def generators(self, plug: Plug) -> Pool:
        """Image workers."""

        def one(number: int) -> ActorHandle:
            name, role = self._name("generator", number), self.cluster.roles.generator
            return self._worker(name, GeneratorActor, plug, *self._store_tape_trace, role=role)

        return self._pool(
            "generator", self.cluster.generator_workers, one, stage="generate", wraps_plugs=True, care=self._care
        )

    def rewards(self, judges: Mapping[str, Plug]) -> Pool:
        """Reward workers."""

        def one(number: int) -> ActorHandle:
            name, role = self._name("reward", number), self.cluster.roles.reward
            return self._worker(name, RewardActor, dict(judges), *self._store_tape_trace, role=role)

        return self._pool("reward", self.cluster.reward_workers, one, stage="judge", wraps_plugs=True, care=self._care)

    async def learner(self, spec: LearnerSpec, *, rollouts: Pool | None) -> LearnerRanks:
        """Learner ranks, joined. They are never restarted: their state is only in checkpoints.

        Raises:
            LearnerGone: One of them died or hung before it had joined.
        """
        world, role = self.cluster.learner_ranks, self.cluster.roles.learner
        places = packed(role, ranks=world) if self.shared is None else [*map(self.shared.learner, range(world))]
        handles = [
            _actor(f"learner-{rank}", LearnerActor, spec, options=options, restarts=0)
            for rank, options in enumerate(places)
        ]
        pool = Pool("learner", handles, stage="learn", wraps_plugs=False)
        ranks = LearnerRanks(pool, board=self.board, rollouts=rollouts, timeout_s=self.cluster.learner_timeout_s)
        await ranks.join(device="cuda" if role.gpus else "cpu")
        return ranks

    @property
    def _care(self) -> Care:
        return Care(hang_s=self.cluster.hang_s)

    @property
    def _patience(self) -> Care:
        return Care(hang_s=self.cluster.hang_s, repeats=False, asks_first=True)

    @property
    def _tape_folder(self) -> str:
        return str(self.folder.cassette)

    @property
    def _store_tape_trace(self) -> tuple[str, CassetteConfig, str, TraceSetup | None]:
        return str(self.folder.images), self.cassette, self._tape_folder, self.trace

    @property
    def _ready_s(self) -> float:
        return self.cluster.ready_timeout_s + self.cluster.nodes_timeout_s

    def _pool(
        self,
        role: str,
        workers: int,
        one: Callable[[int], ActorHandle],
        *,
        stage: str,
        care: Care,
        wraps_plugs: bool = False,
        greeting: Callable[[], tuple[object, ...]] = tuple,
    ) -> Pool:
        """Workers of a role, each raised by `one` from its number, now and when another one is wanted."""

        async def raise_actor(number: int) -> ActorHandle:
            return one(number)

        upkeep = Upkeep(
            raise_actor=raise_actor,
            restarts=self.cluster.restarts,
            window_s=self.cluster.restart_window_s,
            ready_s=self._ready_s,
        )
        handles = [one(number) for number in range(workers)]
        pool = Pool(role, handles, stage=stage, wraps_plugs=wraps_plugs, care=care, upkeep=upkeep, greeting=greeting)
        if self.trace is not None:
            self.traced.append(pool)
        return pool

    async def flush_traces(self) -> None:
        """Return when the actors have sent the spans that wait in them, or somewhat later than they take at most."""
        asked = [pool.call_on(index, "flush_trace") for pool in self.traced for index in pool.healthy]
        try:
            async with asyncio.timeout(FLUSH_S + ANSWER_S):
                answers = await asyncio.gather(*asked, return_exceptions=True)
        except TimeoutError:
            log.warning("traces: some workers did not answer; their last spans may be missing")
            return
        for error in (answer for answer in answers if isinstance(answer, Exception)):
            log.warning("traces: the last spans of a worker are missing: %s", error)

    def _name(self, role: str, number: int) -> str:
        """A new name: Ray may know the one before for a while."""
        name = f"{role}-{number}-{uuid.uuid4().hex[:8]}"
        self.names.setdefault(role, {})[number] = name
        return name

    def _worker(self, name: str, cls: type[object], *args: object, role: RoleConfig) -> ActorHandle:
        return _actor(name, cls, *args, options=spread(role), restarts=self.cluster.restarts)


def _actor(name: str, cls: type[object], *args: object, options: Mapping[str, object], restarts: int) -> ActorHandle:
    remote = ray.remote(max_restarts=restarts)(cls)
    actor = remote.options(name=name, max_concurrency=CALLS_AT_ONCE, max_task_retries=0, **options)
    return cast("ActorHandle", actor.remote(*args))


def publishing_folder(folder: RunFolder, policy: PolicyConfig, cluster: ClusterConfig, *, start: Path) -> Path:
    """Where the learner publishes what becomes of the policy in `start`. Needs a cluster session."""
    place = policy.weights.place
    if place == "auto" and cluster.address == "auto":
        log.info(
            "new weights go through the run directory: nodes may join this cluster; policy.weights.place=shared_memory is "
            "faster where none will"
        )
        place = "run_dir"
    return board_folder(
        place,
        run=folder.root,
        own=folder.weights,
        nodes=sum(1 for node in ray.nodes() if node["Alive"]),
        weight_bytes=sum(path.stat().st_size for path in start.glob("*.safetensors")),
    )
