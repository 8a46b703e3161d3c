"""Configuration -> what is planned."""

from __future__ import annotations

from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.grpo import GrpoConfig
from gen_searcher.config.needs import Share, needs
from gen_searcher.config.plan import LatencyConfig, PlanConfig, StationConfig
from gen_searcher.plan.latency import Fixed, Latency, Lognormal
from gen_searcher.plan.shape import PoolShape, Shape, Workload
from gen_searcher.plan.station import StationKind
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.train.tail import TailRules


def stated_workload(plan: PlanConfig, *, drops_flat: bool = True, looks: bool = False) -> Workload:
    """The latencies as they are stated, of a run that passes over flat groups or not, and shows answers as pictures or not."""
    judges = list(plan.judges)
    return Workload(
        turns=plan.turns,
        turn_s=_latency(plan.turn),
        tool_s=_latency(plan.tool),
        draw_s=_latency(plan.draw),
        judges_s=tuple(_latency(judge) for judge in plan.judges.values()),
        learn_s=plan.learn_s,
        publish_s=plan.publish_s,
        grounded_frac=plan.grounded_frac,
        flat_frac=plan.flat_frac if drops_flat else 0.0,
        image_judge=judges.index(IMAGE) if IMAGE in judges else None,
        looks=looks,
    )


def configured_shape(plan: PlanConfig, cluster: ClusterConfig, grpo: GrpoConfig) -> Shape:
    """The cluster and the step of the run."""
    roles = cluster.roles
    return Shape(
        engines=PoolShape(workers=cluster.rollout_workers, kind=kind(plan.engine), gpus=roles.rollout.gpus),
        generators=PoolShape(workers=cluster.generator_workers, kind=kind(plan.generator), gpus=roles.generator.gpus),
        judges=PoolShape(workers=cluster.reward_workers, kind=kind(plan.reward), gpus=roles.reward.gpus),
        learner_ranks=cluster.learner_ranks,
        groups_per_step=grpo.groups_per_step,
        group_size=grpo.group_size,
        max_staleness=grpo.max_staleness,
        attempts_in_flight=grpo.attempts_in_flight,
        samples=grpo.pictures.samples,
        spare_groups=grpo.oversample.groups,
        spare_members=grpo.oversample.members,
        tail=None if grpo.tail is None else TailRules(members=grpo.tail.members, wait_s=grpo.tail.wait_s),
        learner_gpus=roles.learner.gpus,
        other_shares=tuple(
            Share(actors=need.actors, gpus=need.asks.gpus)
            for need in needs(cluster, command="grpo")
            if need.role in ("tool", "driver") and need.asks.gpus
        ),
        learner_threads=cluster.learner_ranks * plan.learner_threads,
        cores=plan.cores,
    )


def kind(station: StationConfig) -> StationKind:
    """How a worker shares its speed."""
    return StationKind(batch=station.batch, slowdown=station.slowdown, threads=station.threads)


def _latency(stated: LatencyConfig) -> Latency:
    if stated.sigma == 0.0:
        return Fixed(seconds=stated.median_s)
    return Lognormal(median_s=stated.median_s, sigma=stated.sigma)
