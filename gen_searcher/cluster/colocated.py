"""Learner ranks and engines that share GPUs: each rank's device is reserved whole, and its engines go where it is.

They take turns in a synchronous run: nothing is sampled while the learner works, and it waits while there is sampling.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import ray
from ray.util.placement_group import PlacementGroup

from gen_searcher.cluster.placement import inside, reserved, spread
from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.config.needs import SLACK, engines_beside


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDevices:
    """One reserved GPU for each learner rank."""

    group: PlacementGroup
    ranks: int
    roles: RolesConfig

    @classmethod
    def reserve(cls, cluster: ClusterConfig) -> SharedDevices | None:
        """None when ranks and engines have devices of their own, or none at all."""
        roles, ranks = cluster.roles, cluster.learner_ranks
        engines = engines_beside(roles)
        if not engines:
            return None
        learner, rollout = roles.learner, roles.rollout
        each = RoleConfig(
            cpus=learner.cpus + engines * rollout.cpus,
            gpus=1.0,
            memory_gib=learner.memory_gib + engines * rollout.memory_gib,
            labels={**rollout.labels, **learner.labels},
        )
        return cls(group=reserved(each, places=ranks), ranks=ranks, roles=roles)

    def learner(self, rank: int) -> dict[str, object]:
        """What a rank is started with."""
        return inside(self.roles.learner, self.group, place=rank)

    def rollout(self, number: int) -> dict[str, object]:
        """What engine `number` is started with: beside a rank while there is a place, else wherever Ray finds one."""
        is_first = number < self.ranks * engines_beside(self.roles)
        place = number % self.ranks if is_first else self._place_left()
        return spread(self.roles.rollout) if place is None else inside(self.roles.rollout, self.group, place=place)

    def _place_left(self) -> int | None:
        """A device that an engine has left for good, beside a rank that is at work."""
        free = cast("Mapping[str, float]", ray.available_resources())
        most = 1.0 - self.roles.learner.gpus + SLACK  # more: its rank is not there yet, and must find its place
        for bundle in range(self.ranks):
            left = free.get(f"GPU_group_{bundle}_{self.group.id.hex()}", 0.0)
            if self.roles.rollout.gpus - SLACK <= left <= most:
                return bundle
        return None
