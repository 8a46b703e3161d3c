"""What a run needs and what is there: on this machine, or in the cluster that is to be joined."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from gen_searcher.commands.footprints import Gpus
from gen_searcher.config.cluster import ClusterConfig, RoleConfig, RolesConfig
from gen_searcher.config.needs import SLACK, Need, together
from gen_searcher.errors import UserError

HEAD_DEADLINE_S = 15.0
"""Longest wait for the head: nobody starts it beside a doctor, and the commonest mistake is an address where none is."""
KINDS = ("CPU", "GPU", "memory")
BARE = RolesConfig(
    **dict.fromkeys(("learner", "rollout", "generator", "reward", "tool", "driver"), RoleConfig(cpus=0.0))
)
"""Roles that any cluster has room for: to join one and see what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is."""

    where: str
    totals: Mapping[str, float] | None
    """`CPU`, `GPU`, `memory` [bytes]; None when no cluster could be joined."""
    problems: tuple[str, ...]

    def line(self) -> str:
        """Beside the sums of what is needed."""
        there = self.where if self.totals is None else f"{_amounts(self.totals)} {self.where}"
        return f"  {'found':<10}       {there}"


def needed_lines(cluster: ClusterConfig, needed: list[Need]) -> list[str]:
    """What grpo raises at the same time, and the sums that there must be room for."""
    lines = [f"grpo asks of Ray (cluster.address={cluster.address}):"]
    for need in needed:
        asks = [f"{need.asks.cpus:g} CPUs", f"{need.asks.gpus:g} GPUs"]
        asks += [f"{need.asks.memory_gib:g} GiB"] if need.asks.memory_gib else []
        asks += [f"a node with {name}={value}" for name, value in need.asks.labels.items()]
        lines.append(f"  {need.role:<10} {need.actors:>3} x {', '.join(asks)}")
    sums = {kind: together(needed, kind) for kind in KINDS}
    total = f"{sums['CPU']:g} CPUs, {sums['GPU']:g} GPUs, {sums['memory'] / 2**30:g} GiB kept for them"
    return [*lines, f"  {'together':<10}       {total}"]


def look(cluster: ClusterConfig, needed: list[Need], here: Gpus) -> Room:
    """Join the cluster for a moment if one is named, else count what this machine has."""
    return _joined(cluster) if cluster.address == "auto" else _machine(cluster, needed, here)


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def _joined(cluster: ClusterConfig) -> Room:
    from gen_searcher.cluster.placement import check_room, totals
    from gen_searcher.cluster.session import cluster_session

    cluster = cluster.model_copy(update={"nodes_timeout_s": 0.0, "fault_plan": None})
    try:
        with cluster_session(
            cluster.model_copy(update={"roles": BARE}),
            run_id="doctor",
            command="grpo",
            head_deadline_s=HEAD_DEADLINE_S,
        ):
            there = totals()
            try:
                check_room(cluster, command="grpo")
            except UserError as error:
                lacking = (str(error),)
            else:
                lacking = ()
            return Room(where=f"on {there['node']:g} nodes of the cluster", totals=there, problems=lacking)
    except UserError as error:
        return Room(where="no cluster was joined, see below", totals=None, problems=(str(error),))


def _machine(cluster: ClusterConfig, needed: list[Need], here: Gpus) -> Room:
    there = {"CPU": cluster.cpus or cores(), "GPU": here.count, "memory": psutil.virtual_memory().total}
    lacking: list[str] = []
    for kind in KINDS:
        asked = together(needed, kind)
        if asked > there[kind] + SLACK:
            lacking.append(
                f"cluster: {_amount(kind, asked)} needed, {_amount(kind, there[kind])} found on this machine; ask for less "
                "(cluster.roles.*, cluster.*_workers), or join a cluster with cluster.address=auto"
            )
    return Room(where="on this machine", totals=there, problems=tuple(lacking))


def _amounts(there: Mapping[str, float]) -> str:
    return ", ".join(_amount(kind, there[kind]) for kind in KINDS)


def _amount(kind: str, value: float) -> str:
    return f"{value / 2**30:.1f} GiB of memory" if kind == "memory" else f"{value:g} {kind}s"
