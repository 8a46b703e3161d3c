"""The actors of a command, as the protocols that the loops speak."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import cast

from gen_searcher.cluster.colocated import SharedDevices
from gen_searcher.cluster.fleet import Fleet, publishing_folder
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import GeneratorPool, JudgePool, RolloutPool
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import WorldError
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.metrics.traces import process as traces
from gen_searcher.metrics.values import numbers
from gen_searcher.protocols import Generator, Judge, Searcher
from gen_searcher.rewards.compose import compose
from gen_searcher.rewards.golden.calibration import check_judges, watch_judges
from gen_searcher.rewards.golden.cases import golden_set
from gen_searcher.tools.meter import Reading, merged
from gen_searcher.train.attempt import (
    AttemptRunner,
    GroupRules,
    GroupRunner,
    PictureSeed,
    member_seed,
    score_trajectory,
    task_seed,
)
from gen_searcher.train.looking import LookingSearcher, LookRules, RememberedDrawings
from gen_searcher.train.mixture import one_model_a_task
from gen_searcher.train.shadow import Shadow
from gen_searcher.train.thrifty import ThriftyAttempt
from gen_searcher.train.useful import Stages, UsefulGroups
from gen_searcher.types import Task, Trajectory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Tool, image and reward workers: what every attempt needs beside a policy."""

    place: Workplace
    fleet: Fleet
    accounts: Pool
    tools: Pool
    generators: Pool
    rewards: Pool
    drawings: Generator
    """The image workers as one generator: what is judged and what the policy is shown comes from here."""

    @classmethod
    def raise_actors(cls, place: Workplace, *, trains: Path | None = None) -> Crew:
        """Start the workers; they build their models while other things start.

        `trains` is the policy folder that a learner will start from; None when nothing is trained.
        """
        cfg = place.cfg
        weights = None if trains is None else publishing_folder(place.folder, cfg.policy, cfg.cluster, start=trains)
        trace = traces.TraceSetup.of(cfg.trace, run=place.folder.root.name)
        traces.start(trace, role="driver")
        fleet = Fleet(
            cluster=place.cfg.cluster,
            folder=place.folder,
            limits=place.cfg.limits,
            cassette=place.cfg.cassette,
            weights=weights,
            trace=trace,
            shared=None if trains is None else SharedDevices.reserve(cfg.cluster),
        )
        generators = fleet.generators(cfg.generator)
        pool = GeneratorPool(generators)
        return cls(
            place=place,
            fleet=fleet,
            accounts=fleet.accounts(),
            tools=fleet.tools(place.cfg.search, place.cfg.agent),
            generators=generators,
            rewards=fleet.rewards({**place.cfg.judges, **shadow_plugs(place.cfg.reward)}),
            drawings=RememberedDrawings(pool) if cfg.agent.looks else pool,
        )

    async def __aenter__(self) -> Crew:
        """Nothing more to do: the actors are starting."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what the workers hold open; Ray ends the rest with the driver."""
        await self.fleet.flush_traces()
        await traces.stop()
        await self.tools.close()
        self.fleet.board.remove()

    async def wait_ready(self) -> None:
        """Return once all workers have been built; a plug that cannot be built fails here, before any GPU hour."""
        await self.accounts.wait_ready()
        await asyncio.gather(self.tools.wait_ready(), self.generators.wait_ready(), self.rewards.wait_ready())

    async def reading(self, left: Sequence[Reading] = ()) -> Mapping[str, float]:
        """What the workers asked and paid since the last reading, with what is `left` of those that are gone.

        That of a worker which died in between is lost.
        """
        pools = (self.tools, self.generators, self.rewards)
        asked = [pool.call_on(index, "reading") for pool in pools for index in pool.healthy]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for lost in (answer for answer in answers if isinstance(answer, BaseException)):
            if not isinstance(lost, WorldError):
                raise lost
            log.warning("the counts of a worker are lost: %s", lost)
        told = [cast("Reading", one) for one in answers if not isinstance(one, BaseException)]
        return numbers(merged([*told, *left]))

    def rollouts(
        self, policy: Path, agent: AgentConfig, *, follows_learner: bool = False, drawn_by: Iterable[Plug] = ()
    ) -> Pool:
        """Rollout workers that serve the policy of a folder, or what a learner publishes from there on.

        `drawn_by` are further generators, beside the run's, that will draw what is found: prompts must suit them too.
        """
        cfg = self.place.cfg
        return self.fleet.rollouts(
            policy,
            cfg.policy,
            agent,
            self.tools,
            max_prompt_chars=shortest_limit([cfg.generator, *drawn_by]),
            follows_learner=follows_learner,
        )

    def searcher(
        self, rollouts: Pool, *, generator: Generator | None = None, picture_seed: PictureSeed | None = None
    ) -> Searcher:
        """Rollout workers as one searcher, which looks at its own pictures when the settings say so.

        Args:
            rollouts: From `rollouts`.
            generator: What draws the pictures that are judged; None for that of `stages`.
            picture_seed: What it draws them with; None for that of `stages`.
        """
        cfg, workers = self.place.cfg, RolloutPool(rollouts)
        if not cfg.agent.looks:
            return workers
        rules = LookRules(
            agent=cfg.agent,
            max_images=cfg.policy.max_images,
            picture_seed=picture_seed or self.picture_seed,
            capability=plug_capability(cfg.generator),
        )
        return LookingSearcher(workers, workers, generator or self.drawings, rules=rules)

    @property
    def picture_seed(self) -> PictureSeed:
        """What an attempt's pictures are drawn with."""
        return self.of_one_model(task_seed if self.place.cfg.grpo.pictures.seeds == "task" else member_seed)

    def of_one_model(self, seeds: PictureSeed) -> PictureSeed:
        """The seeds, moved so that one model of a mixture draws all pictures of a task."""
        cfg = self.place.cfg
        return one_model_a_task(seeds, run_seed=cfg.seed, capability=plug_capability(cfg.generator))

    def judges(self) -> list[Judge]:
        """The judges whose scores are the reward."""
        return [JudgePool(self.rewards, name) for name in self.place.cfg.judges]

    async def check_judges(self) -> None:
        """Hold the judges against the golden set before a run, see `check_judges`. What it raises ends the run."""
        rules = self.place.cfg.reward.calibration
        golden = golden_set().spread(rules.cases)
        await check_judges(self.judges(), golden, self.place.store, min_kappa=rules.min_kappa)

    async def watch_judges(self) -> None:
        """The same between steps, see `watch_judges`: a judge that is down is no reason to end."""
        rules = self.place.cfg.reward.calibration
        golden = golden_set().spread(rules.cases)
        await watch_judges(self.judges(), golden, self.place.store, min_kappa=rules.min_kappa)

    def shadow(self) -> Shadow | None:
        """The judges that only watch, None when there are none."""
        reward = self.place.cfg.reward
        if not reward.shadow_judges or reward.shadow_frac == 0.0:
            return None
        judges = tuple(JudgePool(self.rewards, name) for name in shadow_plugs(reward))
        return Shadow(judges=judges, frac=reward.shadow_frac)

    def stages(self, searcher: Searcher) -> Stages:
        """The parts of an attempt with this searcher."""
        cfg = self.place.cfg
        return Stages(
            searcher=searcher,
            generator=self.drawings,
            judges=self.judges(),
            compose=partial(compose, rules=cfg.reward),
            shadow=self.shadow(),
            picture_seed=self.picture_seed,
            capability=plug_capability(cfg.generator),
            samples=cfg.grpo.pictures.samples,
        )

    def attempt(self, searcher: Searcher, *, samples: int = 1) -> AttemptRunner:
        """What makes one scored attempt with this searcher, from `samples` pictures."""
        return attempt_of(self.stages(searcher), samples=samples)

    def useful_groups(self, searcher: Searcher, rules: GroupRules) -> GroupRunner | None:
        """What draws only pictures that can move the policy; None unless the configuration asks for it."""
        pictures = picture_rules(self.place.cfg)
        if pictures is None:
            return None
        return UsefulGroups(stages=self.stages(searcher), rules=rules, pictures=pictures)


def attempt_of(stages: Stages, *, samples: int = 1) -> AttemptRunner:
    """What makes one scored attempt of these parts."""
    score = partial(
        score_trajectory,
        generator=stages.generator,
        judges=stages.judges,
        compose=stages.compose,
        shadow=stages.shadow,
        picture_seed=stages.picture_seed,
        capability=stages.capability,
        samples=samples,
    )
    return ThriftyAttempt(stages.searcher, score)


class RolloutsOnDemand:
    """A `Searcher` whose rollout workers start with the first search: what is remembered needs none."""

    def __init__(self, start: Callable[[], Pool], *, searcher: Callable[[Pool], Searcher]) -> None:
        """`start` raises the workers, `searcher` makes one searcher of them."""
        self._start = start
        self._searcher = searcher
        self._raised: tuple[Pool, Searcher] | None = None

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """See `Searcher.search`."""
        if self._raised is None:
            pool = self._start()
            self._raised = pool, self._searcher(pool)
        return await self._raised[1].search(task, seed=seed)

    def stop(self) -> None:
        """End the workers, if there are any."""
        if self._raised is not None:
            self._raised[0].stop()


def shortest_limit(generators: Iterable[Plug]) -> int | None:
    """The longest prompt in characters that all of them take; None when they take any."""
    declared = [plug_capability(plug).max_prompt_chars for plug in generators]
    return min((most for most in declared if most is not None), default=None)


def shadow_plugs(reward: RewardConfig) -> Mapping[str, Plug]:
    """The watching judges, under names that no real judge has."""
    return {f"shadow:{name}": plug for name, plug in reward.shadow_judges.items()}


def picture_rules(cfg: RunConfig) -> PictureRules | None:
    """How it is decided which pictures are drawn; None when all of them are."""
    if not cfg.grpo.pictures.only_useful:
        return None
    return PictureRules(
        share=1.0 - cfg.reward.alpha, objective=cfg.grpo.objective, drops_flat=cfg.grpo.drop_flat_groups
    )
