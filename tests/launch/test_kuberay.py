"""The manifests against the shapes of KubeRay's custom resources, and against what the program asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml

from gen_searcher.config import load

LAUNCH = Path(__file__).parents[2] / "launch"
SCHEMA = cast("dict[str, Any]", json.loads(Path(__file__).with_name("kuberay.schema.json").read_text()))
RESOURCES = {"RayJob": "rayjob.yaml", "RayCluster": "raycluster.yaml"}


def manifest(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load((LAUNCH / "kuberay" / name).read_text()))


def check(kind: str, found: dict[str, Any]) -> None:
    jsonschema.validate(found, {"$defs": SCHEMA["$defs"], **SCHEMA["kinds"][kind]})


def spec_of(kind: str) -> dict[str, Any]:
    spec = manifest(RESOURCES[kind])["spec"]
    return cast("dict[str, Any]", spec["rayClusterSpec"] if kind == "RayJob" else spec)


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_manifest_has_the_shape_of_its_custom_resource(kind: str) -> None:
    found = manifest(RESOURCES[kind])
    assert found["kind"] == kind
    check(kind, found)


def test_a_misspelt_key_is_not_the_shape() -> None:
    found = manifest("rayjob.yaml")
    found["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        check("RayJob", found)


def test_a_run_and_a_cluster_that_stays_have_the_same_groups() -> None:
    assert spec_of("RayJob") == spec_of("RayCluster")


def test_every_pod_runs_as_nobody_in_particular_and_asks_for_a_token() -> None:
    spec = spec_of("RayJob")
    assert spec["authOptions"]["mode"] == "token"
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert all(not container["securityContext"]["allowPrivilegeEscalation"] for container in pod["containers"])


def test_the_nodes_carry_the_labels_that_the_roles_ask_for() -> None:
    asked = load.load(["cluster=many_nodes"]).cluster.roles.tool.labels
    assert asked
    assert [group["groupName"] for group in spec_of("RayJob")["workerGroupSpecs"] if group.get("labels") == asked] == [
        "tools"
    ]


def test_the_smallest_cluster_holds_the_gpus_of_the_recipe() -> None:
    cluster = load.load(["cluster=many_nodes"]).cluster
    needed = cluster.learner_ranks + cluster.rollout_workers + cluster.generator_workers
    gpus = spec_of("RayJob")["workerGroupSpecs"][0]
    each = int(gpus["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert gpus["minReplicas"] * each == needed == 16


def test_tool_workers_reach_no_private_address() -> None:
    policies = list(yaml.safe_load_all((LAUNCH / "kuberay" / "network.yaml").read_text()))
    (tools,) = [policy for policy in policies if policy["metadata"]["name"] == "gen-searcher-tools"]
    labels = spec_of("RayJob")["workerGroupSpecs"][2]["template"]["metadata"]["labels"]
    assert tools["spec"]["podSelector"]["matchLabels"] == labels
    (block,) = [to["ipBlock"] for rule in tools["spec"]["egress"] for to in rule["to"] if "ipBlock" in to]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(block["except"])


def test_the_entrypoint_is_a_command_that_composes() -> None:
    words = cast("str", manifest("rayjob.yaml")["spec"]["entrypoint"]).split()
    assert words[:2] == ["gen-searcher", "grpo"]
    cfg = load.load(words[2:])
    assert cfg.run_dir.is_absolute()
    assert cfg.cluster.address == "auto"
