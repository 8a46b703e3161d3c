from __future__ import annotations

from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.config.needs import needs

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


def test_the_default_roles_share_a_core() -> None:
    assert sum(need.total("CPU") for need in needs(ClusterConfig(), command="grpo")) < 0.1
