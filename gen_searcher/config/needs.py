"""The arithmetic of a cluster: how many actors of each role, and what they ask for. Needs no Ray."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig

KINDS = ("CPU", "GPU", "memory")
"""What is counted, by Ray's names; memory in bytes."""
SLACK = 1e-6
"""Of sums of fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Actors that ask for the same part of a GPU, or for so many whole ones."""

    actors: int
    gpus: float
    """Of each."""


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


def engines_beside(roles: RolesConfig) -> int:
    """How many engines fit onto a learner rank's GPU; 0 where the two do not share."""
    learner, rollout = roles.learner.gpus, roles.rollout.gpus
    if not 0.5 < learner < 1.0 or not 0.0 < rollout < 1.0:
        return 0
    return int((1.0 - learner) / rollout + SLACK)


def together(needed: Sequence[Need], kind: str) -> float:
    """What a cluster must have of a kind to hold them all."""
    if kind != "GPU":
        return sum(need.total(kind) for need in needed)
    return gpus_together(Share(actors=need.actors, gpus=need.asks.gpus) for need in needed)


def gpus_together(shares: Iterable[Share]) -> float:
    """GPUs of a cluster that holds all of these actors.

    Two actors that ask for more than half a GPU each never share one, whatever their sum is.
    """
    asked, apart = 0.0, 0
    for share in shares:
        asked += share.actors * share.gpus
        if share.gpus > 0.5:
            apart += share.actors * math.ceil(share.gpus)
    return max(asked, float(apart))


def lacking(needed: Sequence[Need], found: Mapping[str, float]) -> list[str]:
    """The kinds of which there is too little."""
    return [kind for kind in KINDS if together(needed, kind) > found.get(kind, 0.0) + SLACK]


def amount(kind: str, value: float) -> str:
    """For people, with its unit."""
    return f"{value / 2**30:.1f} GiB of memory" if kind == "memory" else f"{value:g} {kind}s"


def needs(cluster: ClusterConfig, *, command: str) -> list[Need]:
    """What a command raises at the same time, role by role, and what is kept for the command itself if anything is.

    `sft` and `replay` raise learners and nothing else, `data` everything but learners and policies.
    """
    driver = Need(role="driver", actors=1, asks=cluster.roles.driver)
    return [*_actors(cluster, command=command), *([] if driver.asks.is_nothing else [driver])]


def submit_options(driver: RoleConfig) -> list[str]:
    """What `ray job submit` must be told so that Ray keeps it for the command; empty when nothing is asked for."""
    told: list[str] = []
    if driver.cpus:
        told += ["--entrypoint-num-cpus", f"{driver.cpus:g}"]
    if driver.gpus:
        told += ["--entrypoint-num-gpus", f"{driver.gpus:g}"]
    if driver.memory_gib:
        told += ["--entrypoint-memory", str(driver.memory_bytes)]
    if driver.labels:
        told += ["--entrypoint-label-selector", json.dumps(driver.labels)]
    return told


def _actors(cluster: ClusterConfig, *, command: str) -> list[Need]:
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
