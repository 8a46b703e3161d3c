"""The production stream, groups and attempts on simulated pools: Workload, Shape -> when each step was published.

Run it under `plan.virtual_time.run_virtually`: no second of it is waited for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from gen_searcher.plan.limit import Asked, Work
from gen_searcher.plan.ranks import longest_share
from gen_searcher.plan.shape import AttemptWork, Churn, Shape, Workload
from gen_searcher.plan.station import Cores, Station, StationKind, StationPool
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.train.attempt import AttemptRunner, GroupRules, member_seeds, run_attempt, run_group
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.room import Room
from gen_searcher.train.routing import SHARED_PREFIX_CALLS
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.stream import GroupStream, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import (
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    Trajectory,
)

PICTURE = ImageRef(sha256="0" * 64, width_px=1, height_px=1)
NEVER_S = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One step, and what it learned from."""

    at_s: float
    """When every engine served it."""
    taken_s: float
    """When its groups were there."""
    staleness: tuple[int, ...]
    """Of each of its groups."""
    attempts: int
    """Of the groups that it learned from and of those that were passed over or given up since the step before; those that
    were given up themselves count as well."""
    work: Work
    """What the pools and the learner did since the step before, lost work left out."""
    engines_s: float
    """Work done until then, lost work too."""
    generators_s: float
    judges_s: float
    learner_s: float


@dataclass(slots=True, kw_only=True)
class Simulation:
    """Simulated pools, and the attempts that run on them."""

    workload: Workload
    shape: Shape
    learner: Station = field(init=False)
    """All ranks together."""
    engines: StationPool = field(init=False)
    generators: StationPool = field(init=False)
    rewards: StationPool = field(init=False)
    _begun: dict[str, AttemptWork] = field(default_factory=dict[str, AttemptWork])
    """By `_name`: of groups that were begun and not published."""
    _members: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Names of what was begun at a task."""
    _since: list[Asked] = field(default_factory=list[Asked])
    """Of groups that ended since the last step was published."""

    def __post_init__(self) -> None:
        cores = Cores(self.shape.cores)
        self.learner = Station(StationKind(batch=1, threads=self.shape.learner_threads), cores)
        self.engines = StationPool(self.shape.engines.workers, self.shape.engines.kind, cores)
        self.generators = StationPool(self.shape.generators.workers, self.shape.generators.kind, cores)
        self.rewards = StationPool(self.shape.judges.workers, self.shape.judges.kind, cores)

    @property
    def attempt(self) -> AttemptRunner:
        """The production attempt with these pools behind its protocols."""
        seeing = self.workload.image_judge
        generator = _Generator(self._begun, self.generators)
        return partial(
            run_attempt,
            searcher=_Searcher(self._begun, self.engines, generator),
            generator=generator,
            judges=[
                _Judge(self._begun, self.rewards, number, IMAGE if number == seeing else f"judge-{number}")
                for number in range(len(self.workload.judges_s))
            ],
            compose=_no_reward,
            samples=self.shape.samples,
        )

    async def group(self, visit: Visit, *, seed: int, version: int, earlier: Group | None = None) -> Group:
        """The production group on these pools, begun as number `visit.number`."""
        shape = self.shape
        rules = GroupRules(
            size=shape.group_size, tries=100, deadline_s=NEVER_S, tail=shape.tail, spare=shape.spare_members
        )
        seeds = member_seeds(seed, rules=rules)
        for member, own in enumerate(seeds):
            self._begun[_name(visit.task, own)] = self.workload.attempt(own, visit=visit.number, member=member)
        self._members[visit.task.id] = tuple(_name(visit.task, own) for own in seeds)
        return await run_group(
            visit.task, seed=seed, version=version, rules=rules, attempt=self.attempt, earlier=earlier
        )

    def ended(self, group: Group) -> None:
        """All attempts of the group have ended."""
        self._since += self._asked([group])

    def _asked(self, groups: Sequence[Group]) -> list[Asked]:
        samples, seeing = self.shape.samples, self.workload.image_judge
        return [Asked.of(self._begun[name], samples=samples, image_judge=seeing) for name in _names(groups)]

    def _leave(self, groups: Sequence[Group]) -> int:
        """Forget groups and say how many attempts were begun in them."""
        names = [name for group in groups for name in self._members.pop(group.task.id)]
        for name in names:
            del self._begun[name]
        return len(names)

    def learn_s(self, groups: Sequence[Group]) -> float:
        """One step on these groups."""
        return longest_share([self._begun[name].learn_s for name in _names(groups)], self.shape.learner_ranks)

    def published(
        self,
        *,
        taken_s: float,
        version: int,
        groups: tuple[Group, ...],
        dropped: tuple[Group, ...],
        learner_s: float,
        late: tuple[Group, ...] = (),
    ) -> Published:
        """The record of a step that is published now."""
        work_s = self.learn_s(groups)
        trained = self._asked(groups)
        ended, self._since = self._since, []
        return Published(
            at_s=asyncio.get_running_loop().time(),
            taken_s=taken_s,
            staleness=tuple(version - group.version for group in groups),
            attempts=self._leave((*groups, *dropped, *late)),
            work=Work.of(ended, trained=trained, learner_s=work_s),
            engines_s=self.engines.busy_s(),
            generators_s=self.generators.busy_s(),
            judges_s=self.rewards.busy_s(),
            learner_s=learner_s,
        )


async def simulate(
    workload: Workload, shape: Shape, *, steps: int, seed: int = 0, churn: Churn | None = None
) -> tuple[Published, ...]:
    """Run the production stream for so many steps."""
    simulation = Simulation(workload=workload, shape=shape)
    room = Room(attempts=shape.attempts_in_flight, group_size=shape.group_size + shape.spare_members)

    async def start_group(visit: Visit, version: int, earlier: Group | None) -> Group:
        own = group_seed(seed, visit.number)
        return await simulation.group(visit, seed=own, version=version, earlier=earlier)

    def keep(group: Group) -> bool:
        visit = int(group.task.id)
        return not workload.is_flat(derive_seed(seed, "flat", visit), visit=visit)

    stream_rules = StreamRules(
        groups_per_step=shape.groups_per_step,
        max_staleness=shape.max_staleness,
        max_dropped=1_000_000,
        spare_groups=shape.spare_groups,
        outage=OutageRules(max_lost_frac=1.0),
    )
    marks: list[Published] = []
    learner_s = 0.0
    loop = asyncio.get_running_loop()
    async with (
        _coming_and_going(simulation.engines, churn, seed=seed),
        GroupStream(
            _tasks(), start_group, rules=stream_rules, keep=keep, on_group=simulation.ended, room=room
        ) as stream,
    ):
        for step in range(steps):
            taken = await stream.take()
            taken_s = loop.time()
            took_s = simulation.learn_s(taken.groups)
            await simulation.learner.work(took_s, life=simulation.learner.life)
            learner_s += took_s
            await asyncio.sleep(workload.publish_s)
            stream.published()
            marks.append(
                simulation.published(
                    taken_s=taken_s,
                    version=step,
                    groups=taken.groups,
                    dropped=taken.dropped,
                    late=taken.late,
                    learner_s=learner_s,
                )
            )
    return tuple(marks)


def _name(task: Task, seed: int) -> str:
    """Of an attempt. Seeds have 31 bits: among a hundred thousand attempts two have the same."""
    return f"{task.id}/{seed}"


def _names(groups: Sequence[Group]) -> list[str]:
    return [_name(group.task, attempt.seed) for group in groups for attempt in group.attempts]


def group_seed(seed: int, visit: int) -> int:
    """Of the group that was started as number `visit`."""
    return derive_seed(seed, "group", visit)


@asynccontextmanager
async def _coming_and_going(pool: StationPool, churn: Churn | None, *, seed: int) -> AsyncGenerator[None]:
    """Rollout workers die at random instants and come back, for as long as the block runs."""
    if churn is None:
        yield
        return
    dying = asyncio.ensure_future(_churn(pool, churn, random.Random(derive_seed(seed, "churn"))))
    try:
        yield
    finally:
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)


async def _churn(pool: StationPool, churn: Churn, rng: random.Random) -> None:
    async with asyncio.TaskGroup() as restarts:
        while True:
            await asyncio.sleep(rng.expovariate(churn.deaths_per_s))
            restarts.create_task(pool.lose(rng.randrange(len(pool.stations)), restart_s=churn.restart_s))


def _tasks() -> Iterator[Visit]:
    number = 0
    while True:
        yield Visit(number=number, task=Task(id=str(number), prompt="", target=None, meta={}))
        number += 1


def _no_reward(trajectory: Trajectory, judgements: object) -> Reward:
    del trajectory, judgements
    return Reward(total=0.0, parts={})


class _Searcher:
    def __init__(self, begun: Mapping[str, AttemptWork], pool: StationPool, generator: _Generator) -> None:
        self._begun = begun
        self._pool = pool
        self._generator = generator

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        name = _name(task, seed)
        work = self._begun[name].search
        key = derive_seed("rollout", task.id)
        async with self._pool.worker(key=key, slack=SHARED_PREFIX_CALLS) as engine:
            life = engine.life
            await engine.work(work.turns_s[0], life=life)
            for tool_s, turn_s in zip(work.tools_s, work.turns_s[1:], strict=True):
                await asyncio.sleep(tool_s)
                await engine.work(turn_s, life=life)
        if not work.is_grounded:
            return Trajectory(task_id=task.id, turns=(), outcome=Outcome.OUT_OF_TURNS, grounding=None)
        grounding = Grounding(gen_prompt=name, references=())
        if work.look_s is not None:
            await self._generator.generate(grounding, seed=seed)
            async with self._pool.worker(key=key, slack=SHARED_PREFIX_CALLS) as engine:
                await engine.work(work.look_s, life=engine.life)
        return Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)


class _Generator:
    def __init__(self, begun: Mapping[str, AttemptWork], pool: StationPool) -> None:
        self._begun = begun
        self._pool = pool

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        del seed
        async with self._pool.worker() as generator:
            await generator.work(self._begun[grounding.gen_prompt].draw_s, life=generator.life)
        return PICTURE


class _Judge:
    def __init__(self, begun: Mapping[str, AttemptWork], pool: StationPool, number: int, name: str) -> None:
        self._begun = begun
        self._pool = pool
        self._number = number
        self.name = name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        del task, image
        assert trajectory.grounding is not None
        took_s = self._begun[trajectory.grounding.gen_prompt].judges_s[self._number]
        async with self._pool.worker() as worker:
            await worker.work(took_s, life=worker.life)
        return Judgement(
            judge=self.name, score=0.0, parts={}, rationale="", model="", prompt_sha256="", latency_s=took_s
        )
