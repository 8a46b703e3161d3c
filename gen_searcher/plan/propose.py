"""A budget -> the shape that trains most attempts an hour for it.

    work of each pool -> shapes that arithmetic likes -> simulated -> workers moved from pool to pool as long as it helps
    -> workers given back that bring nothing

GPUs are counted. Generators and judges that ask for none get as many workers as anybody waits for; engines and learner
ranks without GPUs take cores instead, of which nothing is known here, and stay as they are configured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

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
ROUNDING_GPUS = 1e-9
"""Fractions of GPUs do not add up to whole ones exactly."""


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
        each = ", ".join(f"{search.least(role)} {role} of {gpus_of(shape, role):g} GPUs" for role in search.paid)
        raise ConfigError(
            f"plan: the smallest shape ({each}) would take {smallest.gpus:g} GPUs; the budget pays for {most_gpus:g}"
        )
    found = search.slimmed(search.improved(search.starts(smallest)))
    return Proposal(shape=found, forecast=forecast(workload, found, plan))


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
        return shape.gpus <= self.most_gpus + ROUNDING_GPUS

    def smallest(self) -> Shape:
        """The fewest of what costs GPUs; so many of what does not that nobody ever waits."""
        shape = self.asked
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
        """A worker or a quarter of them from one pool, and what that pays for in another one."""
        for giver in self.paid:
            count = count_of(shape, giver)
            for given in {1, max(1, count // 4), count // 2}:
                if not 0 < given <= count - self.least(giver):
                    continue
                less = resized(shape, giver, count - given)
                for taker in self.paid:
                    room = (self.most_gpus + ROUNDING_GPUS - less.gpus) / gpus_of(shape, taker)
                    if taker is not giver and room >= 1.0:
                        more = resized(less, taker, count_of(less, taker) + math.floor(room))
                        yield more
                        yield self._grown(more, self._busiest)

    def slimmed(self, shape: Shape) -> Shape:
        """Without the workers that bring nothing, those of most GPUs first."""
        bound_s = self.step_s(shape) * (1.0 + NOTHING)
        for role in sorted([*self.paid, *self.free], key=lambda role: -gpus_of(shape, role)):
            least, enough = self.least(role), count_of(shape, role)
            while least < enough:
                middle = (least + enough) // 2
                if self.step_s(resized(shape, role, middle)) <= bound_s:
                    enough = middle
                else:
                    least = middle + 1
            shape = resized(shape, role, enough)
        return shape

    def step_s(self, shape: Shape) -> float:
        """Simulated, once."""
        counts = _counts(shape)
        if counts not in self._seen_s:
            plan = self.plan.model_copy(update={"steps": min(self.plan.steps, SEARCH_STEPS)})
            self._seen_s[counts] = forecast(self.workload, shape, plan).step_s
        return self._seen_s[counts]


def _counts(shape: Shape) -> tuple[int, ...]:
    return tuple(count_of(shape, role) for role in Role)
