"""A budget -> the shape that trains most attempts an hour for it.

    work of each pool -> shapes that arithmetic likes -> simulated -> workers moved from pool to pool as long as it helps
    -> workers given back that bring nothing

GPUs are counted. Generators and judges that ask for none get as many workers as anybody waits for; engines and learner
ranks without GPUs take cores instead, of which nothing is known here, and stay as they are configured; ranks are never fewer
than `plan.least_learner_ranks`.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gen_searcher.config.needs import SLACK
from gen_searcher.config.plan import PlanConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan.forecast import Forecast, forecast
from gen_searcher.plan.shape import PoolShape, Shape, Workload

TRIED = 10
"""Shapes of a round that are simulated: the best by arithmetic, which knows no queues."""
ROUNDS = 6
"""Of moving workers, at most."""
SEARCH_STEPS = 6
"""Looked at while shapes are compared; attempts are the same for all of them, so few steps tell them apart."""
NOTHING = 0.02
"""Workers that make a step shorter by less than this share of it are given back."""


class Role(StrEnum):
    """Whose number is proposed, by the name that a user reads."""

    ENGINES = "rollout worker"
    GENERATORS = "generator"
    JUDGES = "reward worker"
    LEARNER = "learner rank"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A shape and what it would do."""

    shape: Shape
    forecast: Forecast
    too_large: Mapping[Role, float]
    """Of which one worker more would make a step shorter by `NOTHING` at least, and the GPUs that it would take: more than
    are left."""


def propose(workload: Workload, shape: Shape, plan: PlanConfig, *, most_gpus: float) -> Proposal:
    """The fastest shape that was found; sizes of a step are those of `shape`, with no bound on attempts in flight.

    Of shapes that differ by less than `NOTHING` it is one that takes few GPUs, so it need not spend the budget. One that
    is configured and fits the budget is among those that are compared.

    Raises:
        ConfigError: The budget does not pay for one worker of each role that asks for GPUs, or for the ranks that must be.
    """
    search = _Search(workload=workload, plan=plan, most_gpus=most_gpus, asked=replace(shape, attempts_in_flight=None))
    if not search.paid:
        raise ConfigError(
            "plan: no role of this cluster asks for a GPU (cluster.roles.*.gpus), so a budget of GPUs cannot be spent; "
            "plan for a cluster that has them, e.g. cluster=one_node"
        )
    smallest = search.smallest()
    if not search.is_affordable(smallest):
        each = ", ".join(
            f"{counted(search.least(role), role)} of {gpus_said(gpus_of(shape, role))}" for role in search.paid
        )
        raise ConfigError(
            f"plan: the smallest shape ({each}) would take {gpus_said(smallest.gpus)}; the budget pays for {most_gpus:.4g}"
        )
    found = search.topped(search.slimmed(search.improved(search.starts(smallest))))
    return Proposal(
        shape=found,
        forecast=forecast(workload, found, plan),
        too_large={role: one.gpus - found.gpus for role, one in search.helping(found).items()},
    )


def counted(count: int, thing: str) -> str:
    """So many of a thing, for people."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def gpus_said(gpus: float) -> str:
    """For people: hundredths of a GPU tell nobody anything."""
    said = f"{round(gpus, 2):.10g}"
    return f"{said} GPU" if said == "1" else f"{said} GPUs"


def attempt_work_s(workload: Workload, *, samples: int = 1) -> tuple[float, float, float, float]:
    """Mean work of an attempt of so many pictures for engines, generators, judges and learner, as it would take alone."""
    turns = sum(workload.turns) / len(workload.turns)
    drawn = workload.grounded_frac
    looks = 1 if workload.looks else 0
    verdicts_s = sum(
        judge.mean_s * (samples if number == workload.image_judge else 1)
        for number, judge in enumerate(workload.judges_s)
    )
    return (
        (turns + drawn * looks) * workload.turn_s.mean_s,
        drawn * (samples + looks) * workload.draw_s.mean_s,
        drawn * verdicts_s,
        workload.learn_s * (1.0 - workload.flat_frac),
    )


def count_of(shape: Shape, role: Role) -> int:
    """Workers of the role."""
    return shape.learner_ranks if role is Role.LEARNER else _pool(shape, role).workers


def gpus_of(shape: Shape, role: Role) -> float:
    """That one worker of the role takes."""
    return shape.learner_gpus if role is Role.LEARNER else _pool(shape, role).gpus


def resized(shape: Shape, role: Role, count: int) -> Shape:
    """The shape with so many workers of the role."""
    if role is Role.LEARNER:
        threads = shape.learner_threads / shape.learner_ranks * count
        return replace(shape, learner_ranks=count, learner_threads=threads)
    pool = replace(_pool(shape, role), workers=count)
    if role is Role.ENGINES:
        return replace(shape, engines=pool)
    return replace(shape, generators=pool) if role is Role.GENERATORS else replace(shape, judges=pool)


def _pool(shape: Shape, role: Role) -> PoolShape:
    return {Role.ENGINES: shape.engines, Role.GENERATORS: shape.generators, Role.JUDGES: shape.judges}[role]


def pools_s(workload: Workload, shape: Shape) -> Mapping[Role, float]:
    """How long each pool is busy for a step that never lets it wait."""
    engine_s, draw_s, judge_s, learn_s = attempt_work_s(workload, samples=shape.samples)
    groups = shape.groups_per_step / (1.0 - workload.flat_frac)
    begun = groups * (shape.group_size + shape.spare_members)
    return {
        Role.ENGINES: begun * engine_s / shape.engines.capacity,
        Role.GENERATORS: begun * draw_s / shape.generators.capacity,
        Role.JUDGES: begun * judge_s / shape.judges.capacity,
        Role.LEARNER: max(groups * shape.group_size * learn_s / shape.learner_ranks, workload.learn_s),
    }


def estimated_s(workload: Workload, shape: Shape) -> float:
    """A step by arithmetic: its busiest pool, or its stages one after the other over those that staleness overlaps."""
    busy_s = pools_s(workload, shape)
    turns = sum(workload.turns) / len(workload.turns)
    alone_s = {
        Role.ENGINES: turns * workload.turn_s.mean_s,
        Role.GENERATORS: workload.draw_s.mean_s,
        Role.JUDGES: max((judge.mean_s for judge in workload.judges_s), default=0.0),
        Role.LEARNER: 0.0,
    }
    stages_s = sum(max(busy_s[role], alone_s[role]) for role in Role)
    one_by_one_s = (turns - 1) * workload.tool_s.mean_s + stages_s + workload.publish_s
    return max(*busy_s.values(), one_by_one_s / (shape.max_staleness + 1))


@dataclass(kw_only=True)
class _Search:
    """Shapes that were simulated, and what is allowed."""

    workload: Workload
    plan: PlanConfig
    most_gpus: float
    asked: Shape
    _seen_s: dict[tuple[int, ...], float] = field(default_factory=dict[tuple[int, ...], float])

    @property
    def paid(self) -> list[Role]:
        """Roles that ask for GPUs."""
        return [role for role in Role if gpus_of(self.asked, role) > 0.0]

    @property
    def free(self) -> list[Role]:
        """Roles whose workers cost no GPU and are proposed all the same."""
        return [role for role in (Role.GENERATORS, Role.JUDGES) if role not in self.paid]

    def least(self, role: Role) -> int:
        """Fewest workers of a role."""
        return self.plan.least_learner_ranks if role is Role.LEARNER else 1

    def is_affordable(self, shape: Shape) -> bool:
        """Whether the budget pays for it."""
        return shape.gpus <= self.most_gpus + SLACK

    def smallest(self) -> Shape:
        """The fewest of what costs GPUs; so many of what does not that nobody ever waits."""
        shape = resized(self.asked, Role.LEARNER, max(self.asked.learner_ranks, self.least(Role.LEARNER)))
        for role in self.paid:
            shape = resized(shape, role, self.least(role))
        for role in self.free:
            kind = _pool(shape, role).kind
            calls = shape.samples + (len(self.workload.judges_s) if role is Role.JUDGES else 0)
            ample = math.ceil(shape.most_under_way * calls / kind.batch)
            shape = resized(shape, role, max(count_of(shape, role), ample))
        return shape

    def starts(self, smallest: Shape) -> list[Shape]:
        """Where to begin: the budget by work, by what a step gains, and what is configured."""
        by_work = self._grown(smallest, self._busiest)
        by_gain = self._grown(smallest, self._most_gained)
        configured = smallest
        for role in self.paid:
            configured = resized(configured, role, max(self.least(role), count_of(self.asked, role)))
        return [one for one in (by_work, by_gain, configured) if self.is_affordable(one)]

    def _grown(self, shape: Shape, better: Callable[[Shape, Role], float]) -> Shape:
        """One worker more, where it is worth most, until nothing fits the budget."""
        while True:
            fitting = [role for role in self.paid if self.is_affordable(self._more(shape, role))]
            if not fitting:
                return shape
            shape = self._more(shape, max(fitting, key=lambda role: better(shape, role)))

    def _more(self, shape: Shape, role: Role) -> Shape:
        return resized(shape, role, count_of(shape, role) + 1)

    def _busiest(self, shape: Shape, role: Role) -> float:
        return pools_s(self.workload, shape)[role]

    def _most_gained(self, shape: Shape, role: Role) -> float:
        saved_s = pools_s(self.workload, shape)[role] - pools_s(self.workload, self._more(shape, role))[role]
        return saved_s / gpus_of(shape, role)

    def improved(self, starts: Sequence[Shape]) -> Shape:
        """Move workers between pools as long as a step gets shorter."""
        best = min(starts, key=self.step_s)
        for _ in range(ROUNDS):
            moved = {_counts(one): one for one in self._moves(best)}
            new = [one for counts, one in moved.items() if counts not in self._seen_s]
            new.sort(key=lambda one: estimated_s(self.workload, one))
            following = min([best, *new[:TRIED]], key=self.step_s)
            if following is best:
                break
            best = following
        return best

    def _moves(self, shape: Shape) -> Iterator[Shape]:
        """A worker or a quarter of them from one pool, or from two that share GPUs, and what that pays for in another."""
        for givers in self._givers():
            count = min(count_of(shape, giver) for giver in givers)
            for given in {1, max(1, count // 4), count // 2}:
                if not 0 < given <= min(count_of(shape, giver) - self.least(giver) for giver in givers):
                    continue
                less = shape
                for giver in givers:
                    less = resized(less, giver, count_of(less, giver) - given)
                for taker in self.paid:
                    more = less if taker in givers else self._filled(less, taker)
                    if more is not less:
                        yield more
                        yield self._grown(more, self._busiest)

    def _givers(self) -> Iterator[tuple[Role, ...]]:
        """Who gives: each role, and two whose workers may share a GPU, which is free only when both of them leave it."""
        yield from ((role,) for role in self.paid)
        yield from itertools.combinations([role for role in self.paid if gpus_of(self.asked, role) < 1.0], 2)

    def _filled(self, shape: Shape, role: Role) -> Shape:
        """As many more workers of the role as the budget pays for; the shape itself when that is none."""
        least = count_of(shape, role)
        most = max(least, math.floor((self.most_gpus + SLACK) / gpus_of(shape, role)))
        counts = range(least + 1, most + 1)
        more = bisect.bisect_left(counts, 1, key=lambda count: not self.is_affordable(resized(shape, role, count)))
        return resized(shape, role, least + more) if more else shape

    def slimmed(self, shape: Shape) -> Shape:
        """Without the workers that bring nothing, those of most GPUs first.

        One that shares a GPU which is kept anyway saves nothing by leaving, and stays.
        """
        bound_s = self.step_s(shape) * (1.0 + NOTHING)
        for role in sorted([*self.paid, *self.free], key=lambda role: -gpus_of(shape, role)):
            least, enough = self.least(role), count_of(shape, role)
            while least < enough:
                middle = (least + enough) // 2
                if self.step_s(resized(shape, role, middle)) <= bound_s:
                    enough = middle
                else:
                    least = middle + 1
            less = resized(shape, role, enough)
            if role in self.free or less.gpus < shape.gpus - SLACK:
                shape = less
        return shape

    def topped(self, shape: Shape) -> Shape:
        """With the workers that still fit and help: what is left over is then left for a reason."""
        while fitting := [more for more in self.helping(shape).values() if self.is_affordable(more)]:
            shape = min(fitting, key=self.step_s)
        return shape

    def helping(self, shape: Shape) -> Mapping[Role, Shape]:
        """Roles that ask for GPUs and of which one worker more makes a step shorter: the shape with that one."""
        bound_s = self.step_s(shape) * (1.0 - NOTHING)
        more = {role: self._more(shape, role) for role in self.paid}
        return {role: one for role, one in more.items() if self.step_s(one) < bound_s}

    def step_s(self, shape: Shape) -> float:
        """Simulated, once."""
        counts = _counts(shape)
        if counts not in self._seen_s:
            plan = self.plan.model_copy(update={"steps": min(self.plan.steps, SEARCH_STEPS)})
            self._seen_s[counts] = forecast(self.workload, shape, plan).step_s
        return self._seen_s[counts]


def _counts(shape: Shape) -> tuple[int, ...]:
    return tuple(count_of(shape, role) for role in Role)
