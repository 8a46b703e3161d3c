"""Bytes of each role beside the GPUs that `nvidia-smi` lists; a script stands in for it, as no test machine has any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gen_searcher.commands import footprints
from gen_searcher.commands.footprints import Gpus
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig

WEIGHTS = 1000
SMALL = Gpus(count=2, memory=2500.0)
LARGE = Gpus(count=2, memory=1e9)
ON_GPUS = "cluster.roles={learner: {gpus: 1}, rollout: {gpus: 1}, generator: {gpus: 0.5}}"


def config(tmp_path: Path, *words: str) -> RunConfig:
    policy, pipeline = tmp_path / "policy", tmp_path / "pipeline"
    policy.mkdir()
    save_file({"w": torch.zeros(WEIGHTS)}, policy / "model.safetensors")
    for part in ("transformer", "vae"):
        (pipeline / part).mkdir(parents=True)
        save_file({"w": torch.zeros(WEIGHTS)}, pipeline / part / "diffusion_pytorch_model.safetensors")
    (pipeline / "model_index.json").write_text(json.dumps({"_class_name": "X", "transformer": [], "vae": []}))
    return load.load(
        [
            "experiment=laptop",
            f"run_dir='{tmp_path}/run'",
            f"policy.path='{policy}'",
            "policy.kv_cache_mib=null",
            "policy.engine=async",
            "generator=qwen_edit_2509",
            f"generator.path='{pipeline}'",
            "grpo.optim.dtype=bfloat16",
            "policy.dtype=bfloat16",
            *words,
        ]
    )


def test_learner_engine_and_image_model_are_counted_by_the_headers_of_their_files(tmp_path: Path) -> None:
    found = {one.role: one for one in footprints.taken(config(tmp_path, "cluster.learner_ranks=2"))}
    assert {role: one.footprint.device for role, one in found.items()} == {
        "learner": (2 + 4 + 6) * WEIGHTS,
        "rollout": 2 * WEIGHTS,
        "generator": 2 * 2 * WEIGHTS,
    }
    assert found["generator"].each == "each of 1 workers, for 2,000 weights"


def test_what_is_more_than_a_gpu_or_its_share_is_a_problem_with_a_cure_for_its_role(tmp_path: Path) -> None:
    cfg = config(tmp_path, ON_GPUS)
    learner, generator = footprints.problems(footprints.taken(cfg), SMALL)  # the engine's 2,000 bytes fit
    assert learner.startswith("cluster.roles.learner: ")
    assert "take more ranks (cluster.learner_ranks) with grpo.optim.zero_stage=3" in learner
    assert "0.5 of the smallest GPU of this machine is" in generator
    assert generator.endswith(
        "give a worker a larger share (cluster.roles.generator.gpus), or choose a smaller image model"
    )
    assert list(footprints.problems(footprints.taken(cfg), LARGE)) == []


def test_roles_on_the_cpu_and_machines_without_a_gpu_are_not_compared(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    assert list(footprints.problems(footprints.taken(cfg), SMALL)) == []
    assert list(footprints.problems(footprints.taken(cfg), Gpus(count=0, memory=None))) == []
    assert "not compared with a GPU" in "\n".join(footprints.lines(footprints.taken(cfg), Gpus(count=0, memory=None)))


def test_a_model_of_a_hub_that_was_never_fetched_is_left_out_and_not_fetched(tmp_path: Path) -> None:
    cfg = config(tmp_path, "generator.path=nobody/has-such-a-model")
    assert [one.role for one in footprints.taken(cfg)] == ["learner", "rollout"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("echo 143771; echo 81559", Gpus(count=2, memory=81559 * 2**20)),
        ("echo '[N/A]'", Gpus(count=0, memory=None)),
        ("echo 'Failed to initialize NVML' >&2; exit 9", Gpus(count=0, memory=None)),
    ],
    ids=["two", "no figure", "ill"],
)
def test_the_gpus_of_this_machine_are_those_that_nvidia_smi_lists(
    said: str, found: Gpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(footprints, "DRIVER", tmp_path / "no-driver")
    assert footprints.gpus() == found
