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
from ray.util import placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from gen_searcher.cluster.placement import actor_options, spread
from gen_searcher.config.cluster import ClusterConfig, RolesConfig
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
        bundle: dict[str, float] = {"CPU": learner.cpus + engines * rollout.cpus, "GPU": 1.0}
        if memory := learner.memory_bytes + engines * rollout.memory_bytes:
            bundle["memory"] = memory
        selectors = [{**rollout.labels, **learner.labels}] * ranks if learner.labels or rollout.labels else None
        group = placement_group(
            [bundle] * ranks, strategy="PACK", bundle_label_selector=cast("list[dict[str, str]]", selectors)
        )
        return cls(group=group, ranks=ranks, roles=roles)

    def learner(self, rank: int) -> dict[str, object]:
        """What a rank is started with."""
        return self._inside(actor_options(self.roles.learner), rank)

    def rollout(self, number: int) -> dict[str, object]:
        """What engine `number` is started with: beside a rank while there is a place, else wherever Ray finds one."""
        if number < self.ranks * engines_beside(self.roles):
            return self._inside(actor_options(self.roles.rollout), number % self.ranks)
        place = self._place_left()
        return spread(self.roles.rollout) if place is None else self._inside(actor_options(self.roles.rollout), place)

    def _inside(self, options: Mapping[str, object], bundle: int) -> dict[str, object]:
        strategy = PlacementGroupSchedulingStrategy(placement_group=self.group, placement_group_bundle_index=bundle)
        plain = {name: value for name, value in options.items() if name != "label_selector"}
        return {**plain, "scheduling_strategy": strategy}

    def _place_left(self) -> int | None:
        """A device that an engine has left for good, where all ranks are at work."""
        free = cast("Mapping[str, float]", ray.available_resources())
        most = 1.0 - self.roles.learner.gpus + SLACK  # more: its rank is not there yet, and must find its place
        for bundle in range(self.ranks):
            left = free.get(f"GPU_group_{bundle}_{self.group.id.hex()}", 0.0)
            if self.roles.rollout.gpus - SLACK <= left <= most:
                return bundle
        return None
