"""What a budget is spent on, held against every shape that it pays for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.config.grpo import GrpoConfig
from gen_searcher.config.needs import lacking, needs, together
from gen_searcher.config.plan import PlanConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan import propose as propose_module
from gen_searcher.plan.assume import configured_shape
from gen_searcher.plan.forecast import forecast
from gen_searcher.plan.latency import Fixed, Lognormal
from gen_searcher.plan.propose import Role, count_of, gpus_of, propose, resized
from gen_searcher.plan.shape import PoolShape, Shape, Workload
from gen_searcher.plan.station import StationKind

PLAN = PlanConfig(steps=2)
WORK = Workload(
    turns=(1, 2, 3),
    turn_s=Lognormal(median_s=2.0, sigma=0.3),
    tool_s=Fixed(seconds=0.5),
    draw_s=Lognormal(median_s=6.0, sigma=0.3),
    judges_s=(Fixed(seconds=2.0),),
    learn_s=1.0,
    publish_s=0.5,
)
SLOWER = 1.1
"""Times as long as the best of all shapes that a proposal may take."""


def shape(*, engine: float = 1.0, generator: float = 1.0, judge: float = 0.0, learner: float = 1.0) -> Shape:
    """Two groups of three; GPUs of one worker each."""
    return Shape(
        engines=PoolShape(workers=1, kind=StationKind(batch=4, slowdown=0.3), gpus=engine),
        generators=PoolShape(workers=1, kind=StationKind(batch=1), gpus=generator),
        judges=PoolShape(workers=1, kind=StationKind(batch=2, slowdown=0.5), gpus=judge),
        learner_ranks=1,
        learner_gpus=learner,
        groups_per_step=2,
        group_size=3,
        max_staleness=1,
    )


def every_shape(start: Shape, most_gpus: float) -> Iterator[Shape]:
    """All that the budget pays for; of what costs no GPU, a worker for every attempt under way."""
    counts: list[range] = []
    for role in Role:
        gpus = gpus_of(start, role)
        own = count_of(start, role) if role in (Role.ENGINES, Role.LEARNER) else 12
        counts.append(range(1, int(most_gpus / gpus) + 1) if gpus else range(own, own + 1))
    for each in itertools.product(*counts):
        one = start
        for role, count in zip(Role, each, strict=True):
            one = resized(one, role, count)
        if one.gpus <= most_gpus:
            yield one


@pytest.mark.parametrize("seed", range(8))
def test_a_proposal_fits_its_budget_and_is_about_as_fast_as_the_best_shape_of_all(seed: int) -> None:
    rng = random.Random(seed)
    asks = {"engine": rng.choice([1.0, 2.0]), "learner": rng.choice([0.0, 1.0])}
    asks |= {"generator": rng.choice([0.0, 0.5, 1.0, 2.0]), "judge": rng.choice([0.0, 0.0, 1.0])}
    start = replace(shape(**asks), max_staleness=rng.choice([0, 1, 2]))
    budget = sum(asks.values()) + rng.choice([0.0, 1.5, 2.0, 3.0])
    found = propose(WORK, start, PLAN, most_gpus=budget)
    best_s = min(forecast(WORK, one, PLAN).step_s for one in every_shape(start, budget))
    assert found.shape.gpus <= budget
    assert found.forecast.step_s <= SLOWER * best_s, (asks, budget, found.shape)


def counts(found: Shape) -> tuple[int, ...]:
    """Engines, generators, judges, ranks."""
    return tuple(count_of(found, role) for role in Role)


def test_a_generator_that_asks_for_no_gpu_gets_as_many_workers_as_anybody_waits_for() -> None:
    start = shape(generator=0.0)
    found = propose(WORK, start, PLAN, most_gpus=2)
    one = forecast(WORK, start, PLAN)
    assert counts(found.shape)[1] > 1
    assert found.forecast.step_s < 0.5 * one.step_s
    most = forecast(WORK, resized(found.shape, Role.GENERATORS, 100), PLAN)
    assert found.forecast.step_s <= 1.05 * most.step_s


@pytest.mark.parametrize("asks", [{"engine": 4.0}, {"judge": 1.0}, {"engine": 2.0, "judge": 0.5}])
def test_what_a_large_worker_or_a_judge_on_a_gpu_leaves_is_spent(asks: dict[str, float]) -> None:
    start = shape(**asks)
    found = propose(WORK, start, PLAN, most_gpus=start.gpus + 4.0)
    assert found.shape.gpus <= start.gpus + 4.0
    assert found.forecast.step_s < 0.6 * forecast(WORK, start, PLAN).step_s


def test_configured_judges_do_not_count_against_the_smallest_shape() -> None:
    start = resized(shape(judge=1.0), Role.JUDGES, 8)
    assert propose(WORK, start, PLAN, most_gpus=4).shape.gpus == 4.0
    with pytest.raises(ConfigError, match=r"1 reward worker of 1 GPU.* take 4 GPUs; the budget pays for 3$"):
        propose(WORK, start, PLAN, most_gpus=3)


def test_a_proposal_is_not_slower_than_a_configured_shape_that_fits() -> None:
    configured = replace(
        resized(resized(shape(), Role.GENERATORS, 4), Role.ENGINES, 2), attempts_in_flight=3, max_staleness=0
    )
    found = propose(WORK, configured, PLAN, most_gpus=7)
    assert found.shape.attempts_in_flight is None
    free = forecast(WORK, replace(configured, attempts_in_flight=None), PLAN)
    assert found.forecast.step_s <= 1.02 * free.step_s


COLOCATED = ClusterConfig(
    learner_ranks=2,
    rollout_workers=2,
    generator_workers=2,
    roles=RolesConfig(learner=RoleConfig(gpus=0.55), rollout=RoleConfig(gpus=0.45), generator=RoleConfig(gpus=1.0)),
)


def test_a_shape_asks_for_as_many_gpus_as_preflight_and_doctor_say() -> None:
    tools = RolesConfig.model_validate(
        {**COLOCATED.roles.model_dump(), "tool": {"gpus": 0.25}, "driver": {"gpus": 0.5}}
    )
    for engines, generators, roles in itertools.product((1, 2, 5), (1, 3), (COLOCATED.roles, tools)):
        settings = {"rollout_workers": engines, "generator_workers": generators, "tool_workers": 3, "roles": roles}
        cluster = COLOCATED.model_copy(update=settings)
        asked = together(needs(cluster, command="grpo"), "GPU")
        assert configured_shape(PLAN, cluster, GrpoConfig()).gpus == pytest.approx(asked)


@pytest.mark.parametrize(("budget", "ranks"), [(3, 2), (4, 1), (4, 3), (5, 2)])
def test_a_proposal_for_ranks_and_engines_that_share_gpus_fits_and_is_about_as_fast_as_the_best(
    budget: int, ranks: int
) -> None:
    plan = PLAN.model_copy(update={"least_learner_ranks": ranks})
    start = replace(shape(engine=0.45, learner=0.55), max_staleness=0)
    found = propose(WORK, start, plan, most_gpus=budget).shape
    best_s = min(forecast(WORK, one, PLAN).step_s for one in every_shape(start, budget) if one.learner_ranks >= ranks)
    assert forecast(WORK, found, PLAN).step_s <= 1.03 * best_s
    proposed = COLOCATED.model_copy(
        update={
            "rollout_workers": found.engines.workers,
            "generator_workers": found.generators.workers,
            "learner_ranks": found.learner_ranks,
        }
    )
    assert lacking(needs(proposed, command="grpo"), {"CPU": 1.0, "GPU": budget}) == []


def test_a_rank_and_the_engine_beside_it_make_room_for_a_generator_together() -> None:
    steady = replace(WORK, turn_s=Fixed(seconds=1.0), draw_s=Fixed(seconds=9.0))
    start = replace(shape(engine=0.45, learner=0.55), max_staleness=0)
    six = start
    for role, count in ((Role.ENGINES, 2), (Role.GENERATORS, 6), (Role.JUDGES, 12), (Role.LEARNER, 2)):
        six = resized(six, role, count)
    found = propose(steady, start, PLAN, most_gpus=8)
    assert six.gpus == pytest.approx(8.0)
    assert found.forecast.step_s <= 1.03 * forecast(steady, six, PLAN).step_s, counts(found.shape)


def test_an_engine_beside_a_rank_is_kept_when_its_end_would_free_no_gpu() -> None:
    start = replace(shape(engine=0.45, learner=0.55), max_staleness=0)
    two = PLAN.model_copy(update={"least_learner_ranks": 2})
    quick = replace(WORK, turn_s=Fixed(seconds=0.01))
    assert counts(propose(quick, start, two, most_gpus=3).shape) == (2, 1, 1, 2)


def test_workers_that_bring_nothing_are_given_back() -> None:
    found = propose(WORK, shape(), PLAN, most_gpus=60)
    assert found.shape.gpus < 30.0
    roomy = resized(resized(found.shape, Role.GENERATORS, 40), Role.ENGINES, 12)
    assert found.forecast.step_s <= 1.05 * forecast(WORK, roomy, PLAN).step_s


def test_cores_of_the_learner_grow_with_its_ranks() -> None:
    two = resized(replace(shape(), learner_threads=1.5), Role.LEARNER, 2)
    assert (two.learner_ranks, two.learner_threads) == (2, 3.0)


def test_a_proposal_keeps_the_ranks_that_memory_asks_for() -> None:
    plan = PLAN.model_copy(update={"least_learner_ranks": 3})
    found = propose(WORK, shape(), plan, most_gpus=8)
    assert counts(found.shape)[3] >= 3
    assert counts(propose(WORK, replace(shape(), learner_ranks=4), PLAN, most_gpus=8).shape)[3] < 3
    with pytest.raises(ConfigError, match=r"3 learner ranks of 1 GPU.* take 5 GPUs; the budget pays for 4"):
        propose(WORK, shape(), plan, most_gpus=4)
    free = propose(WORK, shape(learner=0.0), plan, most_gpus=4).shape
    assert counts(free)[3] == 3, "they hold here too, where ranks compute on CPUs"
    assert counts(propose(WORK, resized(shape(learner=0.0), Role.LEARNER, 5), plan, most_gpus=4).shape)[3] == 5


def test_a_proposal_names_what_would_help_and_does_not_fit() -> None:
    large = propose(WORK, shape(generator=4.0), PLAN, most_gpus=8)
    assert large.too_large == {Role.GENERATORS: 4.0}
    assert not propose(WORK, shape(), PLAN, most_gpus=60).too_large, "more would bring nothing"


def test_what_a_search_that_stopped_early_gave_back_buys_what_helps_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propose_module, "ROUNDS", 0)
    quick = replace(WORK, turn_s=Fixed(seconds=0.3), draw_s=Fixed(seconds=6.0))
    found = propose(quick, shape(generator=0.5, judge=1.0), PLAN, most_gpus=6)
    assert all(gpus > 6 - found.shape.gpus for gpus in found.too_large.values())
    more = resized(found.shape, Role.LEARNER, found.shape.learner_ranks + 1)
    assert more.gpus > 6 or forecast(quick, more, PLAN).step_s > 0.98 * found.forecast.step_s
