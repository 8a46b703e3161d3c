"""The arithmetic of a cluster: how many actors of each role, and what they ask for. Needs no Ray."""

from __future__ import annotations

from dataclasses import dataclass

from gen_searcher.config.cluster import ClusterConfig, RoleConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one role asks for."""

    role: str
    actors: int
    asks: RoleConfig

    def each(self, kind: str) -> float:
        """Of one actor; `kind` is Ray's name: `CPU`, `GPU` or `memory` [bytes]."""
        amounts = {"CPU": self.asks.cpus, "GPU": self.asks.gpus, "memory": self.asks.memory_bytes}
        return amounts[kind]

    def total(self, kind: str) -> float:
        """Of all actors of the role."""
        return self.actors * self.each(kind)


def needs(cluster: ClusterConfig, *, command: str) -> list[Need]:
    """What a command raises at the same time, role by role.

    `sft` and `replay` raise learners and nothing else, `data` everything but learners and policies.
    """
    roles = cluster.roles
    found: list[Need] = []
    if command in ("sft", "grpo", "replay"):
        found.append(Need(role="learner", actors=cluster.learner_ranks, asks=roles.learner))
    if command in ("sft", "replay"):
        return found
    if command != "data":
        found.append(Need(role="rollout", actors=cluster.rollout_workers, asks=roles.rollout))
    return [
        *found,
        Need(role="generator", actors=cluster.generator_workers, asks=roles.generator),
        Need(role="reward", actors=cluster.reward_workers, asks=roles.reward),
        Need(role="tool", actors=cluster.tool_workers, asks=roles.tool),
    ]
