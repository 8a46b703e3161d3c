"""What is planned: the work of an attempt, and the cluster that does it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.config.needs import Share, gpus_together
from gen_searcher.plan.latency import Latency
from gen_searcher.plan.station import StationKind
from gen_searcher.train.tail import TailRules

_DRAWING, _JUDGING, _TEACHING, _LOOKING = 1 << 31, 1 << 32, 1 << 33, 1 << 34
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
    look_s: float | None = None
    """Engine time of the turn after the policy has seen what it drew; None: it is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptWork:
    """What a whole attempt asks, in seconds as it would take alone."""

    search: SearchWork
    draw_s: float = 0.0
    """Each of its pictures."""
    judges_s: tuple[float, ...] = ()
    """One per judge of the workload, 0 when it is not judged."""
    learn_s: float = 0.0
    """Learner time on one rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWork:
    """A whole group, as it was recorded."""

    attempts: Sequence[AttemptWork]
    is_flat: bool = False
    """Whether it had nothing to teach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What attempts take: distributions, or a record. It is the same for an attempt under every schedule."""

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
    """Share of groups with nothing to teach, which are passed over."""
    image_judge: int | None = None
    """Which of the judges looks at every picture of an attempt; the others are asked once."""
    looks: bool = False
    """The policy is shown a picture of its answer and hands in another one. Recorded groups have their looks among their turns."""
    groups: Sequence[GroupWork] = ()
    """Whole groups in the order in which they were begun, over and over: the attempts at a hard task are long together, and so
    are those of a policy that has just begun. Empty: turns, calls, drawings and verdicts are drawn each by itself."""

    def attempt(self, seed: int, *, visit: int, member: int) -> AttemptWork:
        """What the attempt with this seed asks, member number `member` of the group that is begun as number `visit`."""
        if self.groups:
            attempts = self.groups[visit % len(self.groups)].attempts
            return attempts[member % len(attempts)]
        rng = random.Random(seed)
        turns = rng.choice(self.turns)
        search = SearchWork(
            turns_s=tuple(self.turn_s.draw_s(rng) for _ in range(turns)),
            tools_s=tuple(self.tool_s.draw_s(rng) for _ in range(turns - 1)),
            is_grounded=rng.random() < self.grounded_frac,
            look_s=self.turn_s.draw_s(random.Random(seed + _LOOKING)) if self.looks else None,
        )
        if not search.is_grounded:
            return AttemptWork(search=search, judges_s=(0.0,) * len(self.judges_s), learn_s=self.learn_s)
        return AttemptWork(
            search=search,
            draw_s=self.draw_s.draw_s(random.Random(seed + _DRAWING)),
            judges_s=tuple(
                judge.draw_s(random.Random(seed + _JUDGING + number)) for number, judge in enumerate(self.judges_s)
            ),
            learn_s=self.learn_s,
        )

    def is_flat(self, seed: int, *, visit: int) -> bool:
        """Whether the group with this seed has nothing to teach."""
        if self.groups:
            return self.groups[visit % len(self.groups)].is_flat
        return random.Random(seed + _TEACHING).random() < self.flat_frac


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
    samples: int = 1
    """Pictures that an attempt is scored by."""
    spare_groups: int = 0
    """See `StreamRules`."""
    spare_members: int = 0
    """See `GroupRules.spare`."""
    tail: TailRules | None = None
    """When the last members of a group are given up."""
    learner_gpus: float = 0.0
    """Of one rank."""
    other_shares: Sequence[Share] = ()
    """GPUs of what is not planned and must have its place beside it: tool workers, the command itself."""
    learner_threads: float = 0.0
    """Cores that all ranks together take of the shared ones."""
    cores: float | None = None
    """Cores of the one machine on which everything runs; None: every worker has its own."""

    @property
    def most_under_way(self) -> int:
        """Attempts, at once."""
        groups = self.groups_per_step * (self.max_staleness + 1) + self.spare_groups
        begun = groups * (self.group_size + self.spare_members)
        return begun if self.attempts_in_flight is None else min(begun, self.attempts_in_flight)

    @property
    def gpus(self) -> float:
        """That a cluster must have to hold it: as preflight counts them, by which shares of a GPU are no plain sum."""
        pools = (self.engines, self.generators, self.judges)
        planned = [Share(actors=pool.workers, gpus=pool.gpus) for pool in pools]
        return gpus_together([*planned, Share(actors=self.learner_ranks, gpus=self.learner_gpus), *self.other_shares])


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """Rollout workers that come and go."""

    deaths_per_s: float
    """Of the whole pool."""
    restart_s: float
    """Until a dead one serves again."""
