"""The twin against closed forms: with latencies that never vary a step takes what arithmetic says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.grpo import GrpoConfig
from gen_searcher.config.plan import PlanConfig, StationConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan.assume import configured_shape, stated_workload
from gen_searcher.plan.forecast import forecast
from gen_searcher.plan.latency import Fixed, Lognormal, Recorded
from gen_searcher.plan.propose import propose
from gen_searcher.plan.shape import Churn, PoolShape, Shape, Workload
from gen_searcher.plan.simulate import simulate
from gen_searcher.plan.station import StationKind
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.tail import TailRules

WORK = Workload(
    turns=(3,),
    turn_s=Fixed(seconds=2.0),
    tool_s=Fixed(seconds=1.0),
    draw_s=Fixed(seconds=5.0),
    judges_s=(Fixed(seconds=4.0), Fixed(seconds=1.5)),
    learn_s=0.5,
    publish_s=1.0,
)
ATTEMPT_S = 3 * 2.0 + 2 * 1.0 + 5.0 + 4.0
PLAN = PlanConfig(steps=6, usd_per_gpu_hour=2.0, usd_per_attempt=0.01)


def shape(*, engines: int = 8, generators: int = 8, ranks: int = 1, staleness: int = 0) -> Shape:
    """Two groups of two."""
    return Shape(
        engines=PoolShape(workers=engines, kind=StationKind(batch=4), gpus=1.0),
        generators=PoolShape(workers=generators, kind=StationKind(batch=1), gpus=1.0),
        judges=PoolShape(workers=1, kind=StationKind(batch=32)),
        learner_ranks=ranks,
        learner_gpus=1.0,
        groups_per_step=2,
        group_size=2,
        max_staleness=staleness,
    )


def test_a_synchronous_step_is_one_attempt_then_learning_then_publishing() -> None:
    said = forecast(WORK, shape(), PLAN)
    assert said.step_s == pytest.approx(ATTEMPT_S + 4 * 0.5 + 1.0)
    assert (said.bottleneck, said.efficiency) == ("longest attempts", pytest.approx(1.0))
    assert said.idle["learner"] == pytest.approx(1 - 2.0 / 20.0)
    assert said.idle["generators"] == pytest.approx(1 - 4 * 5.0 / (8 * 20.0))


def test_two_ranks_learn_twice_as_fast() -> None:
    assert forecast(WORK, shape(ranks=2), PLAN).step_s == pytest.approx(ATTEMPT_S + 1.0 + 1.0)


def test_one_generator_draws_one_picture_after_the_other() -> None:
    said = forecast(WORK, shape(generators=1), PLAN)
    assert said.step_s == pytest.approx(ATTEMPT_S + 3 * 5.0 + 2.0 + 1.0), "the last of four pictures waits for three"


def test_with_staleness_the_slowest_pool_sets_the_pace() -> None:
    said = forecast(WORK, shape(generators=1, staleness=4), PLAN)
    assert said.step_s == pytest.approx(4 * 5.0, rel=0.01)
    assert said.bottleneck == "generators"
    assert said.idle["generators"] == pytest.approx(0.0, abs=0.01)
    assert said.max_staleness <= 4


def test_a_slow_learner_sets_the_pace_and_is_idle_while_it_publishes() -> None:
    said = forecast(replace(WORK, learn_s=10.0), shape(staleness=2), PLAN)
    assert said.step_s == pytest.approx(40.0 + 1.0)
    assert said.bottleneck == "learner"
    assert said.idle["learner"] == pytest.approx(1.0 / 41.0)


def test_groups_with_nothing_to_teach_cost_their_work_and_not_the_learners() -> None:
    said = forecast(
        replace(WORK, flat_frac=0.5), shape(generators=1, staleness=4), PLAN.model_copy(update={"steps": 20})
    )
    assert said.step_s == pytest.approx(2 * 4 * 5.0, rel=0.15), "half of all groups are drawn for nothing"


def test_what_is_not_grounded_is_not_drawn() -> None:
    said = forecast(replace(WORK, grounded_frac=0.0), shape(), PLAN)
    assert said.step_s == pytest.approx(3 * 2.0 + 2 * 1.0 + 2.0 + 1.0)


def test_cost_is_the_gpus_and_what_attempts_pay() -> None:
    said = forecast(WORK, shape(engines=3, generators=4), PLAN)
    assert said.usd_per_hour == 2.0 * (3 + 4 + 1)
    assert said.usd_per_step == pytest.approx(16.0 * said.step_s / 3600 + 4 * 0.01)


def test_equal_seeds_give_equal_forecasts() -> None:
    work = replace(WORK, tool_s=Lognormal(median_s=1.0, sigma=1.0))
    assert forecast(work, shape(staleness=1), PLAN, seed=3) == forecast(work, shape(staleness=1), PLAN, seed=3)
    assert forecast(work, shape(staleness=1), PLAN, seed=3) != forecast(work, shape(staleness=1), PLAN, seed=4)


def test_workers_that_die_cost_time_and_no_step_is_lost() -> None:
    calm = run_virtually(simulate(WORK, shape(engines=1), steps=20))
    churn = Churn(deaths_per_s=0.02, restart_s=5.0)
    stormy = run_virtually(simulate(WORK, shape(engines=1), steps=20, churn=churn))
    assert len(calm) == len(stormy) == 20
    assert [step.attempts for step in stormy] == [4] * 20
    assert stormy[-1].at_s > calm[-1].at_s + 15.0
    assert stormy[-1].engines_s > calm[-1].engines_s, "what was lost was done again"


def test_a_budget_goes_to_the_pools_in_proportion_to_their_work() -> None:
    work = Workload(
        turns=(1,),
        turn_s=Fixed(seconds=2.0),
        tool_s=Fixed(seconds=0.0),
        draw_s=Fixed(seconds=6.0),
        judges_s=(Fixed(seconds=0.1),),
        learn_s=2.0,
    )
    plan = PlanConfig(steps=4)
    start = replace(
        shape(staleness=4),
        engines=PoolShape(workers=1, kind=StationKind(batch=1), gpus=1.0),
        groups_per_step=10,
    )
    found = propose(work, start, plan, most_gpus=10)
    counts = (found.shape.engines.workers, found.shape.generators.workers, found.shape.learner_ranks)
    assert counts == (2, 6, 2), "2 : 6 : 2 seconds of work"
    assert found.forecast.step_s == pytest.approx(20.0, rel=0.05)
    with pytest.raises(ConfigError, match="take 3 GPUs; the budget pays for 2"):
        propose(work, start, plan, most_gpus=2)
    without = replace(start, engines=PoolShape(workers=1, kind=StationKind(batch=1)), learner_gpus=0.0)
    with pytest.raises(ConfigError, match="no role of this cluster asks for a GPU"):
        propose(work, replace(without, generators=without.engines), plan, most_gpus=2)


def test_cores_that_all_share_are_the_limit_of_a_laptop() -> None:
    work = replace(WORK, turns=(1,), draw_s=Fixed(seconds=0.0), judges_s=(Fixed(seconds=0.0),), publish_s=0.0)
    laptop = replace(
        shape(engines=1),
        engines=PoolShape(workers=1, kind=StationKind(batch=4, slowdown=1.0, threads=1.0)),
        learner_threads=1.0,
        cores=1.0,
    )
    assert forecast(work, laptop, PLAN).step_s == pytest.approx(4 * 2.0 + 4 * 0.5), "one after the other"
    at_once = forecast(work, replace(laptop, max_staleness=1), PLAN)
    assert at_once.step_s == pytest.approx(4 * 2.0 + 4 * 0.5, rel=0.01), "staleness brings no cores"
    assert (at_once.bottleneck, at_once.limit_s) == ("cores", pytest.approx(10.0))
    roomy = forecast(work, replace(laptop, max_staleness=1, cores=2.0), PLAN)
    assert roomy.step_s == pytest.approx(4 * 2.0, rel=0.01), "a core for each: the engine sets the pace"


def test_means_of_distributions() -> None:
    assert Lognormal(median_s=2.0, sigma=1.0).mean_s == pytest.approx(2.0 * 1.6487, rel=1e-4)
    assert Recorded(seconds=(1.0, 2.0, 6.0)).mean_s == 3.0
    assert Fixed(seconds=1.5).mean_s == 1.5


def configured(**settings: object) -> Shape:
    """Four groups of four on a pool of each kind that is not waited for."""
    grpo = GrpoConfig.model_validate({"groups_per_step": 4, "group_size": 4, "max_staleness": 0, **settings})
    cluster = ClusterConfig(rollout_workers=4, generator_workers=8, reward_workers=4)
    return configured_shape(PlanConfig(generator=StationConfig(batch=1)), cluster, grpo)


def test_pictures_of_one_answer_are_drawn_and_judged_each() -> None:
    once, four = shape(generators=1), replace(shape(generators=1), samples=4)
    seen = replace(WORK, image_judge=0)
    assert forecast(seen, four, PLAN).step_s == pytest.approx(forecast(seen, once, PLAN).step_s + 4 * 3 * 5.0), (
        "four answers, three pictures more of 5 s each, one after the other"
    )
    assert configured(pictures={"samples": 4}).samples == 4
    one_judge = replace(shape(generators=16), judges=PoolShape(workers=1, kind=StationKind(batch=1)), samples=2)
    said = forecast(replace(seen, judges_s=(Fixed(seconds=4.0),)), one_judge, PLAN)
    assert said.step_s == pytest.approx(3 * 2.0 + 2 * 1.0 + 5.0 + 4 * 2 * 4.0 + 2.0 + 1.0), (
        "eight verdicts by one judge"
    )
    text = forecast(replace(seen, judges_s=(Fixed(seconds=4.0),), image_judge=None), one_judge, PLAN)
    assert text.step_s == pytest.approx(3 * 2.0 + 2 * 1.0 + 5.0 + 4 * 4.0 + 2.0 + 1.0), (
        "who sees no picture is asked once"
    )


def test_a_look_takes_a_picture_and_a_turn_more() -> None:
    assert forecast(replace(WORK, looks=True), shape(), PLAN).step_s == pytest.approx(ATTEMPT_S + 5.0 + 2.0 + 2.0 + 1.0)


def test_a_tail_that_is_cut_off_is_not_waited_for() -> None:
    slow = replace(WORK, tool_s=Lognormal(median_s=1.0, sigma=1.5))
    whole, cut = configured(), configured(tail={"members": 2, "wait_s": 0.0})
    assert cut.tail == TailRules(members=2, wait_s=0.0)
    assert forecast(slow, cut, PLAN).step_s < 0.8 * forecast(slow, whole, PLAN).step_s


def test_spare_members_and_groups_stand_in_for_the_slowest() -> None:
    slow = replace(WORK, tool_s=Lognormal(median_s=1.0, sigma=1.5))
    whole_s = forecast(slow, configured(), PLAN).step_s
    members = configured(oversample={"members": 4})
    groups = configured(oversample={"groups": 4})
    assert (members.spare_members, groups.spare_groups) == (4, 4)
    assert forecast(slow, members, PLAN).step_s < 0.8 * whole_s
    assert forecast(slow, groups, PLAN).step_s < 0.8 * whole_s
    (first, *_) = run_virtually(simulate(slow, members, steps=2))
    assert first.attempts == 4 * (4 + 4), "those that were given up were begun as well"


def test_groups_that_are_trained_on_though_flat_cost_no_second_group() -> None:
    plan = PlanConfig(flat_frac=0.5)
    assert (stated_workload(plan).flat_frac, stated_workload(plan, drops_flat=False).flat_frac) == (0.5, 0.0)


def test_more_ranks_than_samples_learn_no_faster() -> None:
    four, many = forecast(WORK, shape(ranks=4), PLAN), forecast(WORK, shape(ranks=64), PLAN)
    assert four.step_s == many.step_s == pytest.approx(ATTEMPT_S + 0.5 + 1.0)
    assert forecast(WORK, shape(ranks=3), PLAN).step_s == pytest.approx(ATTEMPT_S + 2 * 0.5 + 1.0), (
        "one has two of four"
    )
