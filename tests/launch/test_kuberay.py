"""The manifests against the shapes of KubeRay's custom resources, and against what the program asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import cast

import jsonschema
import pytest

from gen_searcher.commands.ending import MEANINGS
from gen_searcher.config import load
from gen_searcher.config.cluster import RoleConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from tests.launch.kuberay import (
    FOLDER,
    RESOURCES,
    amount,
    check,
    container,
    containers,
    groups,
    manifest,
    pod_labels,
    secrets,
    spec_of,
    text,
    with_spot,
)

KEYS = {name: {key} for name, key in re.findall(r"generic (\S+) --from-env-file=\S+ +# (\w+)=", text("rayjob.yaml"))}
"""Secret -> the keys in it, as the manifest's head tells the reader to make them."""


def recipe() -> RunConfig:
    return load.load(cast("str", manifest("rayjob.yaml")["spec"]["entrypoint"]).split()[2:])


def landing(role: RoleConfig) -> set[str]:
    """Groups on whose nodes Ray may put an actor of the role. The head hands out no CPU."""
    return {
        name
        for name, group in groups().items()
        if name != "head"
        and role.labels.items() <= group.get("labels", {}).items()
        and role.gpus <= float(container(group)["resources"]["limits"].get("nvidia.com/gpu", 0))
    }


def keys_of(*plugs: Plug) -> set[str]:
    """Environment variables that the plugs read, those of nested settings too."""
    return {name for plug in plugs for name in re.findall(r"env:(\w+)", json.dumps(dict(plug.keywords)))}


def asked_keys(cfg: RunConfig) -> Mapping[str, set[str]]:
    """Role -> the keys that its actors read."""
    web = [plug for plug in (cfg.search.reader, cfg.search.summarizer) if plug is not None]
    return {
        "reward": keys_of(*cfg.judges.values(), *cfg.reward.shadow_judges.values()),
        "tool": keys_of(cfg.search.search_plug, cfg.search.images_plug, *web),
        "generator": keys_of(cfg.generator),
    }


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


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_commented_spot_group_is_a_gpu_group_of_other_nodes_that_the_learner_can_be_kept_from(kind: str) -> None:
    found = with_spot(RESOURCES[kind])
    check(kind, found)
    spec = found["spec"]["rayClusterSpec"] if kind == "RayJob" else found["spec"]
    gpu, spot, *_ = spec["workerGroupSpecs"]
    assert (gpu["groupName"], spot["groupName"], len(spec["workerGroupSpecs"])) == ("gpu", "spot", 4)
    assert spot["template"]["spec"].pop("nodeSelector")
    assert spot["template"]["spec"] == gpu["template"]["spec"]
    (words,) = re.findall(r"cluster\.roles\.learner\.labels='(.*?)'", text(RESOURCES[kind]))
    learner = load.load(["cluster=many_nodes", f"cluster.roles.learner.labels={words}"]).cluster.roles.learner
    assert learner.labels.items() <= gpu["labels"].items()
    assert not learner.labels.items() <= spot["labels"].items()


def test_every_container_of_every_pod_runs_as_nobody_in_particular_and_can_become_nobody_else() -> None:
    found = list(containers())
    assert {name for name, _ in found} == {"head", "gpu", "judges", "tools", "submitter", "autoscaler"}
    for name, each in found:
        assert each["pod"]["runAsNonRoot"] is True, name
        assert each["pod"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert each["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name


def test_only_the_autoscalers_pod_may_ask_kubernetes_and_the_cluster_asks_for_a_token() -> None:
    job = manifest("rayjob.yaml")["spec"]
    pods = {name: group["template"]["spec"] for name, group in groups().items()}
    pods["submitter"] = job["submitterPodTemplate"]["spec"]
    assert [name for name, pod in pods.items() if pod["automountServiceAccountToken"]] == ["head"]
    assert spec_of("RayJob")["authOptions"]["mode"] == "token"


def test_every_role_has_a_group_with_its_labels_and_devices() -> None:
    roles = recipe().cluster.roles
    assert [landing(role) for role in (roles.learner, roles.rollout, roles.generator)] == [{"gpu"}] * 3
    assert [landing(role) for role in (roles.reward, roles.tool)] == [{"judges"}, {"tools"}]


def test_a_role_that_needs_a_key_lands_only_where_it_is_and_no_group_has_a_key_that_nobody_there_reads() -> None:
    cfg = recipe()
    asked = asked_keys(cfg)
    assert asked == {"reward": {"OPENAI_API_KEY"}, "tool": {"SERPER_API_KEY"}, "generator": set()}
    held = {name: {key for secret in secrets(group) for key in KEYS[secret]} for name, group in groups().items()}
    read: dict[str, set[str]] = {name: set() for name in held}
    for role, keys in asked.items():
        for name in landing(getattr(cfg.cluster.roles, role)):
            read[name] |= keys
    read["head"] = {key for keys in asked.values() for key in keys}  # the driver looks at all of them first
    assert held == read


def test_a_hosted_generator_sent_where_the_many_nodes_page_says_lands_beside_the_keys() -> None:
    (words,) = re.findall(
        r"cluster\.roles\.generator='(.*?)'",
        re.sub(r"\n# ", " ", (load.conf_dir() / "cluster/many_nodes.yaml").read_text()),
    )
    cfg = load.load(["cluster=many_nodes", f"cluster.roles.generator={words}", "generator=openai"])
    (group,) = landing(cfg.cluster.roles.generator)
    assert keys_of(cfg.generator) == {key for secret in secrets(groups()[group]) for key in KEYS[secret]}


def test_tools_and_judges_see_the_runs_and_neither_models_nor_data() -> None:
    cfg = recipe()
    for name in ("judges", "tools"):
        (shared,) = [mount for mount in container(groups()[name])["volumeMounts"] if mount["name"] == "shared"]
        assert shared["subPath"] == "runs"
        assert cfg.run_dir.is_relative_to(shared["mountPath"])
        named = (cfg.policy.path, cfg.tasks.train, cfg.tasks.heldout)
        assert [path is not None and path.is_relative_to(shared["mountPath"]) for path in named] == [False] * 3
    assert {folder for folder in ("runs", "models", "data") if f"`{folder}`" in text("storage.yaml")} == {
        "runs",
        "models",
        "data",
    }


def test_rays_store_of_values_fits_into_the_shared_memory_of_every_pod_and_that_into_its_memory() -> None:
    for name, group in groups().items():
        (shm,) = [volume for volume in group["template"]["spec"]["volumes"] if volume["name"] == "shm"]
        size = amount(shm["emptyDir"]["sizeLimit"])
        assert int(group["rayStartParams"]["object-store-memory"]) * 2 <= size, name
        assert size * 2 <= amount(container(group)["resources"]["limits"]["memory"]), name


def test_the_smallest_cluster_holds_the_gpus_of_the_recipe() -> None:
    cluster = load.load(["cluster=many_nodes"]).cluster
    needed = cluster.learner_ranks + cluster.rollout_workers + cluster.generator_workers
    gpus = spec_of("RayJob")["workerGroupSpecs"][0]
    each = int(container(gpus)["resources"]["limits"]["nvidia.com/gpu"])
    assert gpus["minReplicas"] * each == needed == 16


def test_the_entrypoint_is_a_command_that_composes() -> None:
    words = cast("str", manifest("rayjob.yaml")["spec"]["entrypoint"]).split()
    assert words[:2] == ["gen-searcher", "grpo"]
    cfg = load.load(words[2:])
    assert cfg.run_dir.is_absolute()
    assert cfg.cluster.address == "auto"


def test_a_run_that_will_never_succeed_is_not_tried_for_long_and_the_reader_is_told_which_codes_those_are() -> None:
    spec = manifest("rayjob.yaml")["spec"]
    assert spec["backoffLimit"] <= 3
    assert spec["activeDeadlineSeconds"] > 3 * 24 * 3600, "the forecast of conf/cluster/README.md is 65 hours"
    told = {int(code) for code in re.findall(r"\((\d+)\)", text("rayjob.yaml"))}
    assert told == {2, 3, 4, 75}
    assert told < MEANINGS.keys()


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_commands_in_the_head_of_a_manifest_name_files_that_are_there(kind: str) -> None:
    files = re.findall(r"-f (launch/kuberay/\S+)", text(RESOURCES[kind]))
    assert len(files) == 3
    assert files[-1].endswith(RESOURCES[kind])
    assert all((FOLDER.parents[1] / file).is_file() for file in files)


def test_the_labels_of_a_group_and_of_its_pods_agree() -> None:
    for name, group in groups().items():
        assert pod_labels(group) == {"app": "gen-searcher", "pool": name}
        assert pod_labels(group) == group["template"]["metadata"]["labels"]
