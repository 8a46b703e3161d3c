"""The manifests of launch/kuberay/ as their readers see them: groups, pods, policies."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml

FOLDER = Path(__file__).parents[2] / "launch" / "kuberay"
SCHEMA = cast("dict[str, Any]", json.loads(Path(__file__).with_name("kuberay.schema.json").read_text()))
RESOURCES = {"RayJob": "rayjob.yaml", "RayCluster": "raycluster.yaml"}
Labels = Mapping[str, str]


def text(name: str) -> str:
    return (FOLDER / name).read_text()


def manifest(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(text(name)))


def with_spot(name: str) -> dict[str, Any]:
    """The manifest with its commented group."""
    return cast("dict[str, Any]", yaml.safe_load(re.sub(r"(?m)^( +)# (- groupName|  )", r"\1\2", text(name))))


def check(kind: str, found: dict[str, Any]) -> None:
    jsonschema.validate(found, {"$defs": SCHEMA["$defs"], **SCHEMA["kinds"][kind]})


def spec_of(kind: str) -> dict[str, Any]:
    spec = manifest(RESOURCES[kind])["spec"]
    return cast("dict[str, Any]", spec["rayClusterSpec"] if kind == "RayJob" else spec)


def groups() -> dict[str, dict[str, Any]]:
    """Of the run, by name; the head is one of them."""
    spec = spec_of("RayJob")
    return {"head": spec["headGroupSpec"], **{group["groupName"]: group for group in spec["workerGroupSpecs"]}}


def pod_labels(group: Mapping[str, Any]) -> Labels:
    """KubeRay puts the labels of a group on its pods, above those of the template."""
    return {**group["template"]["metadata"]["labels"], **group.get("labels", {})}


def container(group: Mapping[str, Any]) -> dict[str, Any]:
    (only,) = group["template"]["spec"]["containers"]
    return cast("dict[str, Any]", only)


def secrets(group: Mapping[str, Any]) -> set[str]:
    """Names of the Secrets whose keys the pods of a group have in their environment."""
    return {source["secretRef"]["name"] for source in container(group).get("envFrom", [])}


def amount(quantity: str) -> int:
    """Bytes of `512Gi`."""
    return int(quantity.removesuffix("Gi")) << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A pod somewhere, or an address of the web."""

    namespace: str = "ours"
    labels: Labels | None = None
    """None: no pod."""
    address: str = ""


@lru_cache(maxsize=1)
def policies() -> Sequence[dict[str, Any]]:
    return tuple(yaml.safe_load_all(text("network.yaml")))


def may_ask(asks: Peer, pod: Labels, port: int) -> bool:
    """Whether a pod of ours with these labels lets somebody in. Policies add up; a pod that none selects is open."""
    return _allows("Ingress", "from", pod, asks, port)


def may_reach(pod: Labels, asked: Peer, port: int) -> bool:
    """Whether a pod of ours with these labels is let out to somebody."""
    return _allows("Egress", "to", pod, asked, port)


def _allows(kind: str, side: str, pod: Labels, other: Peer, port: int) -> bool:
    chosen = [
        policy["spec"]
        for policy in policies()
        if kind in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], pod)
    ]
    rules = [rule for spec in chosen for rule in spec[kind.lower()]]
    return not chosen or any(
        _is_port(rule, port) and any(_matches(peer, other) for peer in rule[side]) for rule in rules
    )


def _is_port(rule: Mapping[str, Any], port: int) -> bool:
    return "ports" not in rule or any(each["port"] == port and each["protocol"] == "TCP" for each in rule["ports"])


def _matches(peer: Mapping[str, Any], other: Peer) -> bool:
    if "ipBlock" in peer:
        if not other.address:
            return False
        address = ipaddress.ip_address(other.address)
        inside = [address in ipaddress.ip_network(block) for block in peer["ipBlock"].get("except", [])]
        return address in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and not any(inside)
    if other.labels is None:
        return False
    namespace = {"kubernetes.io/metadata.name": other.namespace}
    if "namespaceSelector" in peer:
        is_there = _selects(peer["namespaceSelector"], namespace)
    else:
        is_there = other.namespace == "ours"
    return is_there and _selects(peer.get("podSelector", {}), other.labels)


def _selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    assert set(selector) <= {"matchLabels"}, "these tests know no other selector"
    return cast("dict[str, str]", selector.get("matchLabels", {})).items() <= labels.items()


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container that KubeRay starts for a run, with the security of its pod below `pod`."""
    job = manifest("rayjob.yaml")["spec"]
    pods = {name: group["template"]["spec"] for name, group in groups().items()}
    pods["submitter"] = job["submitterPodTemplate"]["spec"]
    for name, pod in pods.items():
        for each in (*pod["containers"], *pod.get("initContainers", [])):
            yield name, {**each, "pod": pod["securityContext"]}
    yield "autoscaler", {**job["rayClusterSpec"]["autoscalerOptions"], "pod": pods["head"]["securityContext"]}
