from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gen_searcher.config.optim import Frozen
from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration, load_qwen
from gen_searcher.engines.vision import FrozenVision, freeze
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Sample
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples, picture, sample, save_tiny


class Runs:
    """Counts how often a tower ran, by looking at what went into it."""

    def __init__(self, tower: torch.nn.Module) -> None:
        self.patches: list[int] = []
        tower.register_forward_pre_hook(lambda _, inputs: self.patches.append(len(inputs[0])))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("policy"))


def frozen_policy(
    folder: Path, store: ImageStore, *, limit_mib: int = 64, dtype: torch.dtype = torch.float32
) -> tuple[PackedPolicy, FrozenVision, Runs]:
    model = load_qwen(folder, dtype=dtype)
    runs = Runs(model.model.visual)
    vision = FrozenVision.take_from(
        model, dtype=dtype, pixels=lambda ref: image_patches(store.get(ref)), limit_mib=limit_mib
    )
    return PackedPolicy(model, banned_ids=(), chunk_tokens=64, vision=vision), vision, runs


def score(policy: PackedPolicy, *samples: Sample) -> Tensor:
    row = row_tensors(samples, image_token_id=IMAGE_TOKEN, pixels=None)
    with torch.no_grad():
        return policy(row, 1.0)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_features_are_the_recomputed_ones_to_the_bit(folder: Path, store: ImageStore, dtype: torch.dtype):
    _, vision, runs = frozen_policy(folder, store, dtype=dtype)
    views = [picture(store, seed, width=64, height=32 * (1 + seed)) for seed in range(3)]
    first = [vision.features(view) for view in views]
    again = [vision.features(view) for view in reversed(views)][::-1]
    _, fresh, _ = frozen_policy(folder, store, dtype=dtype)
    recomputed = [fresh.features(view) for view in reversed(views)][::-1]
    for one, two, three in zip(first, again, recomputed, strict=True):
        assert one.abs().max() > 1e-2
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    assert len(runs.patches) == 3


def test_siblings_and_epochs_share_one_run_of_the_tower_per_picture(folder: Path, store: ImageStore):
    policy, _, runs = frozen_policy(folder, store)
    samples = mixed_samples(store)
    first = score(policy, *samples)
    assert len(runs.patches) == 3  # six placeholders show three pictures
    for one in samples[2:]:
        score(policy, one)
    assert torch.equal(score(policy, *samples), first)
    assert len(runs.patches) == 4  # and the blank picture of a row without any


def test_a_frozen_tower_shows_what_a_trained_one_shows(folder: Path, store: ImageStore):
    policy, _, _ = frozen_policy(folder, store)
    samples = mixed_samples(store)
    trained = PackedPolicy(load_qwen(folder, dtype=torch.float32), banned_ids=(), chunk_tokens=64)
    row = row_tensors(tuple(samples), image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref)))
    with torch.no_grad():
        expected = trained(row, 1.0)[0]
    assert (score(policy, *samples) - expected).abs().max() < 1e-5
    swapped = mixed_samples(store)[2]
    assert (score(policy, swapped) - score(policy, _reversed(swapped))).abs().max() > 1e-3


def _reversed(one: Sample) -> Sample:
    from dataclasses import replace

    return replace(one, images=one.images[::-1])


def test_the_cache_keeps_to_its_limit_and_lets_go_of_the_oldest(folder: Path, store: ImageStore):
    big = [
        picture(store, 40 + seed, width=512, height=1024) for seed in range(4)
    ]  # 512 tokens x 2 x 64 floats: 1/4 MiB
    _, vision, runs = frozen_policy(folder, store, limit_mib=1)
    assert vision.features(big[0]).nbytes == 1 << 18
    for view in big:
        vision.features(view)
    assert len(runs.patches) == 4
    vision.features(picture(store, 50))
    vision.features(big[1])
    assert len(runs.patches) == 5
    vision.features(big[0])
    assert len(runs.patches) == 6


def test_without_room_every_look_runs_the_tower(folder: Path, store: ImageStore):
    policy, _, runs = frozen_policy(folder, store, limit_mib=0)
    one = mixed_samples(store)[0]
    assert torch.equal(score(policy, one), score(policy, one))
    assert len(runs.patches) == 2


def test_a_text_row_teaches_the_language_model_alone(folder: Path, store: ImageStore):
    policy, vision, _ = frozen_policy(folder, store)
    row = row_tensors((sample(seed=3, tokens=30),), image_token_id=IMAGE_TOKEN, pixels=None)
    policy(row, 1.0)[0].sum().backward()
    assert all(p.grad is not None for p in policy.parameters())
    assert not any("visual" in name for name, _ in policy.named_parameters())
    names = {name for name, _ in load_qwen(folder, dtype=torch.float32).named_parameters() if "visual" in name}
    assert {name for name, _ in vision.weights()} == names


def test_freezing_one_part_stops_its_gradient_only(folder: Path):
    cases: list[tuple[tuple[Frozen, ...], int]] = [((), 0), (("vision",), 1), (("projector",), 1)]
    for parts, frozen in [*cases, (("vision", "projector"), 2)]:
        model = load_qwen(folder, dtype=torch.float32)
        assert isinstance(model, Qwen3VLForConditionalGeneration)
        freeze(model, parts)
        probes = (model.model.visual.patch_embed.proj.weight, model.model.visual.merger.linear_fc1.weight)
        assert sum(not probe.requires_grad for probe in probes) == frozen
        assert model.model.language_model.layers[0].mlp.up_proj.weight.requires_grad


def test_rotary_frequencies_stay_float32_in_a_bfloat16_tower(folder: Path, store: ImageStore):
    model = load_qwen(folder, dtype=torch.float32)
    tower = model.model.visual
    FrozenVision.take_from(model, dtype=torch.bfloat16, pixels=_no_pixels, limit_mib=1)
    assert {buffer.dtype for buffer in tower.buffers()} == {torch.float32}
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.bfloat16}


def _no_pixels(ref: ImageRef) -> Tensor:
    raise AssertionError(ref)
