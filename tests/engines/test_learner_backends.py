"""Every backend and setting against the same step: numbers of one are numbers of all."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import load_file

from gen_searcher.engines.qwen_forward import PackedPolicy, load_qwen
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples
from tests.engines.rank_worker import BANNED, TEMPERATURE
from tests.engines.test_learner_rank import Said, largest_difference, run_ranks

SHARDINGS: dict[str, dict[str, object]] = {
    "zero1": {"zero_stage": 1},
    "zero2": {"zero_stage": 2},
    "zero3": {"zero_stage": 3},
    "fsdp2": {"backend": "fsdp2"},
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """One rank, DeepSpeed's ZeRO 1, three rows accumulated."""
    return run_ranks("one_step", tmp_path_factory.mktemp("alone"), world=1)


def assert_same_step(said: Said, reference: Said, *, tolerance: float) -> None:
    expected, found = reference.gradient("one-step"), said.gradient("one-step")
    assert float(expected.abs().max()) > 1e-2
    assert (found - expected).abs().max() < tolerance * expected.abs().max()
    assert said.of("one_step")["losses"][0] == pytest.approx(reference.of("one_step")["losses"][0], abs=tolerance)
    assert said.of("one_step")["norms"][0] == pytest.approx(reference.of("one_step")["norms"][0], rel=1e-5)
    assert said.of("one_step")["losses"][1] == pytest.approx(reference.of("one_step")["losses"][1], rel=1e-3)


@pytest.mark.parametrize(
    ("sharding", "world"),
    [
        ("fsdp2", 2),
        pytest.param("zero2", 2, marks=pytest.mark.slow),
        pytest.param("zero3", 2, marks=pytest.mark.slow),
        pytest.param("zero1", 2, marks=pytest.mark.slow),
        pytest.param("fsdp2", 1, marks=pytest.mark.slow),
    ],
)
def test_every_sharding_takes_the_step_of_one_rank(alone: Said, tmp_path: Path, sharding: str, world: int):
    said = run_ranks("one_step", tmp_path, world=world, **SHARDINGS[sharding])
    assert_same_step(said, alone, tolerance=1e-6)


@pytest.mark.slow
def test_between_two_rows_a_rank_of_fsdp2_holds_its_share_of_the_gradient_alone(tmp_path: Path):
    held = run_ranks("held_gradients", tmp_path, world=2).of("held_gradients")
    weights, own, whole = (cast("int", held[name]) for name in ("weights", "own", "whole"))
    assert whole == 0
    assert own == pytest.approx(weights / 2, rel=0.01)


@pytest.mark.slow
def test_zero_3_gathers_and_frees_every_weight_in_these_tests(tmp_path: Path):
    held = run_ranks("partitioned", tmp_path, world=2).of("partitioned")
    assert cast("int", held["all"]) > 100_000
    assert held["whole"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("change", ["row_tokens", "gradient_checkpointing", "offload_optimizer"])
def test_accumulating_recomputing_and_offloading_change_nothing(
    alone: Said, tmp_path: Path, sharding: str, change: str
):
    value: object = 600 if change == "row_tokens" else True  # 600 tokens: all samples in one row, nothing accumulated
    said = run_ranks("one_step", tmp_path, world=1, **SHARDINGS[sharding], **{change: value})
    assert_same_step(said, alone, tolerance=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_bfloat16_takes_nearly_the_same_step_on_two_ranks(alone: Said, tmp_path: Path, sharding: str):
    said = run_ranks(
        "one_step", tmp_path, world=2, dtype="bfloat16", gradient_checkpointing=True, **SHARDINGS[sharding]
    )
    assert said.of("one_step")["losses"][0] == pytest.approx(alone.of("one_step")["losses"][0], rel=0.1)
    found, expected = said.gradient("one-step"), alone.gradient("one-step")
    assert float(torch.nn.functional.cosine_similarity(found, expected, dim=0)) > 0.99
    exported = load_file(said.folder / "one-step.safetensors")
    assert {weight.dtype for weight in exported.values()} == {torch.bfloat16}


@pytest.mark.slow
@pytest.mark.parametrize(("saved_by", "resumed_by"), [("zero1", "fsdp2"), ("fsdp2", "zero3"), ("zero3", "zero2")])
def test_a_checkpoint_of_one_backend_is_resumed_by_another(tmp_path: Path, saved_by: str, resumed_by: str):
    before = run_ranks("plain", tmp_path, world=2, **SHARDINGS[saved_by])
    after = run_ranks("resumed", tmp_path, world=1, **SHARDINGS[resumed_by])
    assert after.of("resumed")["losses"][0] == pytest.approx(before.of("plain")["losses"][1], abs=1e-5)
    assert after.of("resumed")["norms"][0] == pytest.approx(before.of("plain")["norms"][1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_every_sharding_resumes_to_the_bit(tmp_path: Path, sharding: str):
    said = run_ranks("plain+resumed", tmp_path, world=2, dtype="bfloat16", **SHARDINGS[sharding])
    assert said.of("resumed")["losses"] == said.of("plain")["losses"][1:]
    assert said.of("resumed")["norms"] == said.of("plain")["norms"][1:]
    assert largest_difference(said.folder / "resumed-3.safetensors", said.folder / "after-3.safetensors") == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_with_a_frozen_tower_ranks_with_and_without_pictures_meet(alone: Said, tmp_path: Path, sharding: str):
    settings = {"freeze": ["vision", "projector"], **SHARDINGS[sharding]}
    said = run_ranks("one_step+uneven", tmp_path, world=2, **settings)
    expected, found = alone.state("one-step", "exp_avg"), said.state("one-step", "exp_avg")
    assert found.keys() == {name for name in expected if not name.startswith("model.visual.")}
    largest = max(float(value.abs().max()) for value in expected.values())
    assert max(float((found[name] - expected[name]).abs().max()) for name in found) < 1e-6 * largest
    base, exported = load_file(tmp_path / "policy" / "model.safetensors"), load_file(tmp_path / "one-step.safetensors")
    assert base.keys() == exported.keys()
    for name in base:
        assert torch.equal(base[name], exported[name]) == name.startswith("model.visual."), name


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_adapters_learn_on_two_ranks_and_are_published_merged(tmp_path: Path, sharding: str):
    lora = {"rank": 4, "alpha": 8.0}
    said = run_ranks("one_step", tmp_path, world=2, lora=lora, **SHARDINGS[sharding])
    assert all(".lora_" in name for name in said.state("one-step", "master"))
    policy = tmp_path / "policy"
    before = load_file(policy / "model.safetensors")
    (tmp_path / "one-step.safetensors").replace(policy / "model.safetensors")
    after = load_file(policy / "model.safetensors")
    assert before.keys() == after.keys()
    assert sum(not torch.equal(before[name], after[name]) for name in before) == 3 * 7
    store = ImageStore(tmp_path / "images")
    row = row_tensors(
        tuple(mixed_samples(store)), image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref))
    )
    plain = PackedPolicy(load_qwen(policy, dtype=torch.float32), banned_ids=BANNED, chunk_tokens=64)
    with torch.no_grad():
        found, _ = plain(row, TEMPERATURE)
    scored = [lp for part in cast("list[list[float]]", said.of("one_step")["logprobs"]) for lp in part]
    assert (found - torch.tensor(scored)).abs().max() < 1e-4
