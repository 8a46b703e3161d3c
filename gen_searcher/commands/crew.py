"""The actors of a command, as the protocols that the loops speak."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import cast

from gen_searcher.cluster.fleet import Fleet, publishing_folder
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.roles import GeneratorPool, JudgePool, RolloutPool
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.agent import AgentConfig
from gen_searcher.errors import WorldError
from gen_searcher.metrics.values import numbers
from gen_searcher.protocols import Searcher
from gen_searcher.rewards.compose import compose
from gen_searcher.tools.meter import Reading, merged
from gen_searcher.train.attempt import AttemptRunner, run_attempt

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

    @classmethod
    def raise_actors(cls, place: Workplace, *, trains: Path | None = None) -> Crew:
        """Start the workers; they build their models while other things start.

        `trains` is the policy folder that a learner will start from; None when nothing is trained.
        """
        weights = None if trains is None else publishing_folder(place.folder, place.cfg.policy, start=trains)
        fleet = Fleet(
            cluster=place.cfg.cluster,
            folder=place.folder,
            limits=place.cfg.limits,
            cassette=place.cfg.cassette,
            weights=weights,
        )
        return cls(
            place=place,
            fleet=fleet,
            accounts=fleet.accounts(),
            tools=fleet.tools(place.cfg.search, place.cfg.agent),
            generators=fleet.generators(place.cfg.generator),
            rewards=fleet.rewards(place.cfg.judges),
        )

    async def __aenter__(self) -> Crew:
        """Nothing more to do: the actors are starting."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what the workers hold open; Ray ends the rest with the driver."""
        await self.tools.close()
        self.fleet.board.remove()

    async def wait_ready(self) -> None:
        """Return once all workers have been built; a plug that cannot be built fails here, before any GPU hour."""
        await self.accounts.wait_ready()
        await asyncio.gather(self.tools.wait_ready(), self.generators.wait_ready(), self.rewards.wait_ready())

    async def reading(self) -> Mapping[str, float]:
        """What the workers asked and paid since the last reading; that of a worker which died in between is lost."""
        pools = (self.tools, self.generators, self.rewards)
        asked = [pool.call_on(index, "reading") for pool in pools for index in pool.healthy]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for lost in (answer for answer in answers if isinstance(answer, BaseException)):
            if not isinstance(lost, WorldError):
                raise lost
            log.warning("the counts of a worker are lost: %s", lost)
        return numbers(merged(cast("Reading", one) for one in answers if not isinstance(one, BaseException)))

    def rollouts(self, policy: Path, agent: AgentConfig, *, follows_learner: bool = False) -> Pool:
        """Rollout workers that serve the policy of a folder, or what a learner publishes from there on."""
        return self.fleet.rollouts(policy, self.place.cfg.policy, agent, self.tools, follows_learner=follows_learner)

    def attempt(self, searcher: Searcher) -> AttemptRunner:
        """What makes one scored attempt with this searcher."""
        return partial(
            run_attempt,
            searcher=searcher,
            generator=GeneratorPool(self.generators),
            judges=[JudgePool(self.rewards, name) for name in self.place.cfg.judges],
            compose=partial(compose, alpha=self.place.cfg.reward.alpha),
        )


def searcher_of(rollouts: Pool) -> Searcher:
    """Rollout workers as one searcher."""
    return RolloutPool(rollouts)
