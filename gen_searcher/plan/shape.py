"""What is planned: the work of an attempt, and the cluster that does it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.plan.latency import Latency
from gen_searcher.plan.station import StationKind

_DRAWING, _JUDGING, _TEACHING = 1 << 31, 1 << 32, 1 << 33
"""Added to a seed of 31 bits, they make seeds of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchWork:
    """What one search asks of the world."""

    turns_s: tuple[float, ...]
    """Engine time of each turn, alone on its engine."""
    tools_s: tuple[float, ...]
    """One tool call between two turns."""
    is_grounded: bool
    """Whether it ends with something to draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptWork:
    """What a whole attempt asked, as it was recorded."""

    search: SearchWork
    draw_s: float = 0.0
    judges_s: tuple[float, ...] = ()
    """One per judge of the workload; empty when it was not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Distributions of what attempts take. What an attempt takes depends on its seed alone, under every schedule."""

    turns: Sequence[int]
    """Turns of a trajectory, each entry as likely as the others."""
    turn_s: Latency
    tool_s: Latency
    draw_s: Latency
    judges_s: Sequence[Latency]
    """One per judge; they are asked beside each other."""
    learn_s: float
    """Learner time of one attempt on one rank."""
    publish_s: float = 0.0
    """From the end of a step until every engine serves its weights."""
    grounded_frac: float = 1.0
    """Share of attempts that are drawn and judged."""
    flat_frac: float = 0.0
    """Share of groups with nothing to teach."""
    attempts: Sequence[AttemptWork] = ()
    """Whole attempts of which each is as likely as the others: long turns come together, and with malformed answers. Empty:
    turns, calls, drawings and verdicts are drawn each by itself."""

    def search(self, seed: int) -> SearchWork:
        """The search of the attempt with this seed."""
        if self.attempts:
            return self._recorded(seed).search
        rng = random.Random(seed)
        turns = rng.choice(self.turns)
        return SearchWork(
            turns_s=tuple(self.turn_s.draw_s(rng) for _ in range(turns)),
            tools_s=tuple(self.tool_s.draw_s(rng) for _ in range(turns - 1)),
            is_grounded=rng.random() < self.grounded_frac,
        )

    def drawing_s(self, seed: int) -> float:
        """Its picture."""
        if self.attempts:
            return self._recorded(seed).draw_s
        return self.draw_s.draw_s(random.Random(seed + _DRAWING))

    def judging_s(self, seed: int, *, judge: int) -> float:
        """The verdict of one of its judges."""
        if self.attempts:
            return self._recorded(seed).judges_s[judge]
        return self.judges_s[judge].draw_s(random.Random(seed + _JUDGING + judge))

    def is_flat(self, seed: int) -> bool:
        """Whether the group with this seed has nothing to teach."""
        return random.Random(seed + _TEACHING).random() < self.flat_frac

    def _recorded(self, seed: int) -> AttemptWork:
        return random.Random(seed).choice(self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolShape:
    """Workers of one role."""

    workers: int
    kind: StationKind
    gpus: float = 0.0
    """Of one worker."""

    @property
    def capacity(self) -> float:
        """Seconds of work, as they would take alone, that get done in a second."""
        return self.workers * self.kind.capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A cluster and the sizes of a step."""

    engines: PoolShape
    generators: PoolShape
    judges: PoolShape
    learner_ranks: int
    groups_per_step: int
    group_size: int
    max_staleness: int
    attempts_in_flight: int | None = None
    learner_gpus: float = 0.0
    """Of one rank."""
    learner_threads: float = 0.0
    """Cores that all ranks together take of the shared ones."""
    cores: float | None = None
    """Cores of the one machine on which everything runs; None: every worker has its own."""

    @property
    def gpus(self) -> float:
        """Of all workers."""
        pools = (self.engines, self.generators, self.judges)
        return sum(pool.workers * pool.gpus for pool in pools) + self.learner_ranks * self.learner_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """Rollout workers that come and go."""

    deaths_per_s: float
    """Of the whole pool."""
    restart_s: float
    """Until a dead one serves again."""
