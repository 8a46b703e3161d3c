"""What a run needs and what is there: on this machine, or in the cluster that is to be joined."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from gen_searcher.commands.footprints import Gpus
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.needs import KINDS, Need, amount, lacking, together


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


def there(cluster: ClusterConfig, needed: list[Need], here: Gpus) -> Room:
    """Join the cluster for a moment if one is named, else count what this machine has."""
    return _joined(cluster) if cluster.address == "auto" else _machine(cluster, needed, here)


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def _joined(cluster: ClusterConfig) -> Room:
    from gen_searcher.cluster.look import look  # brings Ray along, which a run on this machine alone does not need

    seen = look(cluster, command="grpo")
    problems = () if seen.problem is None else (seen.problem,)
    if seen.totals is None:
        return Room(where="no cluster was joined, see below", totals=None, problems=problems)
    return Room(where=f"on {seen.totals['node']:g} nodes of the cluster", totals=seen.totals, problems=problems)


def _machine(cluster: ClusterConfig, needed: list[Need], here: Gpus) -> Room:
    there = {"CPU": cluster.cpus or cores(), "GPU": here.count, "memory": psutil.virtual_memory().total}
    problems = tuple(
        f"cluster: {amount(kind, together(needed, kind))} needed, {amount(kind, there[kind])} found on this machine; ask "
        "for less (cluster.roles.*, cluster.*_workers), or join a cluster with cluster.address=auto"
        for kind in lacking(needed, there)
    )
    return Room(where="on this machine", totals=there, problems=problems)


def _amounts(there: Mapping[str, float]) -> str:
    return ", ".join(amount(kind, there[kind]) for kind in KINDS)
