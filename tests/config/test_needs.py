from __future__ import annotations

import pytest

from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.config.needs import Share, engines_beside, gpus_together, needs, submit_options, together

CLUSTER = ClusterConfig(
    learner_ranks=8,
    rollout_workers=6,
    generator_workers=2,
    roles=RolesConfig(
        learner=RoleConfig(gpus=1, memory_gib=32), rollout=RoleConfig(gpus=1), generator=RoleConfig(gpus=0.5)
    ),
)


def total(command: str, kind: str) -> float:
    return sum(need.total(kind) for need in needs(CLUSTER, command=command))


def test_grpo_needs_every_role_at_the_same_time() -> None:
    assert total("grpo", "GPU") == 8 + 6 + 1
    assert total("grpo", "memory") == 8 * 32 * 2**30


def test_sft_needs_learners_and_nothing_else() -> None:
    assert [need.role for need in needs(CLUSTER, command="sft")] == ["learner"]


def test_what_does_not_learn_needs_no_learner() -> None:
    assert total("bench", "GPU") == 7
    assert total("bench", "memory") == 0


def test_the_driver_counts_only_where_something_is_kept_for_it() -> None:
    assert "driver" not in [need.role for need in needs(CLUSTER, command="grpo")]
    kept = RoleConfig(cpus=2, memory_gib=8, labels={"pool": "core"})
    cluster = CLUSTER.model_copy(update={"roles": CLUSTER.roles.model_copy(update={"driver": kept})})
    for command in ("grpo", "sft", "data"):
        last = needs(cluster, command=command)[-1]
        assert (last.role, last.actors, last.total("CPU"), last.total("memory")) == ("driver", 1, 2, 8 * 2**30)
        before = needs(CLUSTER, command=command)
        assert needs(cluster, command=command)[:-1] == before


def test_a_submission_is_told_what_to_keep_for_the_driver_and_nothing_by_default() -> None:
    assert submit_options(ClusterConfig().roles.driver) == []
    kept = RoleConfig(cpus=2, gpus=0.5, memory_gib=8, labels={"market-type": "!spot"})
    assert submit_options(kept) == [
        "--entrypoint-num-cpus",
        "2",
        "--entrypoint-num-gpus",
        "0.5",
        "--entrypoint-memory",
        str(8 * 2**30),
        "--entrypoint-label-selector",
        '{"market-type": "!spot"}',
    ]


def test_the_default_roles_share_a_core() -> None:
    assert sum(need.total("CPU") for need in needs(ClusterConfig(), command="grpo")) < 0.1


def test_actors_that_ask_for_more_than_half_a_gpu_never_share_one() -> None:
    roles = RolesConfig(learner=RoleConfig(gpus=0.55), rollout=RoleConfig(gpus=0.45))
    cluster = ClusterConfig(learner_ranks=4, rollout_workers=4, roles=roles)
    assert together(needs(cluster, command="grpo"), "GPU") == pytest.approx(4.0)
    assert together(needs(cluster, command="sft"), "GPU") == 4
    assert together(needs(CLUSTER, command="grpo"), "GPU") == 15
    generators = Share(actors=5, gpus=1.0)
    assert gpus_together([Share(actors=4, gpus=0.55), Share(actors=1, gpus=0.45), generators]) == 9, "and not 7.65"
    assert gpus_together([Share(actors=4, gpus=0.4), Share(actors=1, gpus=2.0)]) == pytest.approx(3.6)


def test_as_many_engines_share_a_ranks_gpu_as_fit_beside_it() -> None:
    def roles(learner: float, rollout: float) -> RolesConfig:
        return RolesConfig(learner=RoleConfig(gpus=learner), rollout=RoleConfig(gpus=rollout))

    assert engines_beside(roles(0.55, 0.45)) == 1
    assert engines_beside(roles(0.6, 0.2)) == 2
    assert engines_beside(roles(0.7, 0.4)) == 0
    assert engines_beside(roles(1.0, 1.0)) == 0
    assert engines_beside(roles(0.0, 0.0)) == 0
