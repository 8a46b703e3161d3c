"""Where actors run: roles -> what Ray is asked for, and whether the cluster has it."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import cast

import ray
from ray.util import placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from gen_searcher.config.cluster import ClusterConfig, RoleConfig
from gen_searcher.config.needs import KINDS, Need, amount, lacking, needs, together
from gen_searcher.errors import UserError

log = logging.getLogger(__name__)

POLL_S = 2.0
ANY_NODE = RoleConfig()


def actor_options(role: RoleConfig) -> dict[str, object]:
    """What one actor of the role is started with."""
    options: dict[str, object] = {"num_cpus": role.cpus, "num_gpus": role.gpus}
    if role.memory_gib:
        options["memory"] = role.memory_bytes
    if role.labels:
        options["label_selector"] = dict(role.labels)
    return options


def spread(role: RoleConfig) -> dict[str, object]:
    """The same, on as many nodes as there are."""
    return {**actor_options(role), "scheduling_strategy": "SPREAD"}


def packed(role: RoleConfig, *, ranks: int) -> list[dict[str, object]]:
    """[ranks] what each of several actors is started with, on as few nodes as hold them.

    A rank that keeps nothing to speak of is not worth a reservation: on a laptop it goes where it likes.
    """
    if ranks == 1 or role.gpus == 0.0:
        return [actor_options(role)] * ranks
    group = reserved(role, places=ranks)
    return [inside(role, group, place=rank) for rank in range(ranks)]


def reserved(each: RoleConfig, *, places: int) -> PlacementGroup:
    """So many places with what `each` asks for, on as few nodes as hold them."""
    bundle: dict[str, float] = {"CPU": each.cpus, "GPU": each.gpus}
    if each.memory_gib:
        bundle["memory"] = each.memory_bytes
    selectors = [dict(each.labels)] * places if each.labels else None
    return placement_group(
        [bundle] * places, strategy="PACK", bundle_label_selector=cast("list[dict[str, str]]", selectors)
    )


def inside(role: RoleConfig, group: PlacementGroup, *, place: int) -> dict[str, object]:
    """What an actor of the role is started with in a place of `group`, which has chosen the node by its labels."""
    options = {name: value for name, value in actor_options(role).items() if name != "label_selector"}
    strategy = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=place)
    return {**options, "scheduling_strategy": strategy}


def check_room(cluster: ClusterConfig, *, command: str) -> None:
    """Return once the cluster holds what the command's roles need.

    Raises:
        UserError: Exit code 3; it does not, and `cluster.nodes_timeout_s` is over. Names every role and its share.
    """
    needed = needs(cluster, command=command)
    deadline = time.monotonic() + cluster.nodes_timeout_s
    said = False
    while True:
        found = cast("Mapping[str, float]", ray.cluster_resources())
        short = lacking(needed, found)
        homeless = _homeless(needed)
        if not short and not homeless:
            return
        if time.monotonic() >= deadline:
            raise UserError(_too_small(needed, found, short) if short else _unlabelled(homeless), exit_code=3)
        if not said:
            waits_for = _shares(needed, found, short) if short else _unlabelled(homeless)
            log.info("waiting up to %g s for nodes: %s", cluster.nodes_timeout_s, waits_for)
            said = True
        time.sleep(POLL_S)


def totals() -> dict[str, float]:
    """What the cluster that was joined has: `CPU`, `GPU` and `memory` [bytes], and how many nodes as `node`."""
    resources = cast("Mapping[str, float]", ray.cluster_resources())
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    return {"node": nodes, **{kind: resources.get(kind, 0.0) for kind in KINDS}}


def _homeless(needed: list[Need]) -> list[Need]:
    """Roles whose labels no node carries: Ray would let their actors wait for ever."""
    nodes = [cast("Mapping[str, str]", node["Labels"]) for node in ray.nodes() if node["Alive"]]
    return [need for need in needed if not any(_carries(labels, need.asks.labels) for labels in nodes)]


def _carries(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(_fits(labels.get(key), wanted) for key, wanted in selector.items())


def _fits(value: str | None, wanted: str) -> bool:
    """Ray's selectors: `v`, `!v`, `in(v, w)`, `!in(v, w)`."""
    plain = wanted.removeprefix("!")
    options = plain[3:-1].split(",") if plain.startswith("in(") and plain.endswith(")") else [plain]
    return (value in [option.strip() for option in options]) != wanted.startswith("!")


def _unlabelled(homeless: list[Need]) -> str:
    lines = [
        f"    {need.role}: {', '.join(f'{key}={value}' for key, value in need.asks.labels.items())}"
        for need in homeless
    ]
    return "\n".join(
        [
            "no node of the cluster carries the labels that these roles ask for:",
            *lines,
            "  label the nodes (`ray start --labels`, `rayStartParams.labels` in KubeRay), change cluster.roles.ROLE.labels, "
            "or let the run wait for an autoscaler with cluster.nodes_timeout_s",
        ]
    )


def _shares(needed: list[Need], found: Mapping[str, float], short: list[str]) -> str:
    return "; ".join(
        f"{amount(kind, together(needed, kind))} needed, {amount(kind, found.get(kind, 0.0))} found" for kind in short
    )


def _too_small(needed: list[Need], found: Mapping[str, float], short: list[str]) -> str:
    lines = [
        f"    {need.role}: {need.actors} x {amount(kind, need.each(kind))}"
        for kind in short
        for need in needed
        if need.each(kind)
    ]
    return "\n".join(
        [
            f"the cluster is too small: {_shares(needed, found, short)}",
            *lines,
            "  ask for fewer (cluster.rollout_workers, cluster.generator_workers, cluster.roles.*), add nodes, or let the "
            "run wait for an autoscaler with cluster.nodes_timeout_s",
        ]
    )
