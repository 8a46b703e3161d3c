from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration
from gen_searcher.errors import UserError
from gen_searcher.grpo.tensors import RowTensors, image_patches, row_tensors
from gen_searcher.grpo.vision import expand
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Sample
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples, picture, sample, save_tiny, tiny_qwen

Pixels = Callable[[ImageRef], Tensor]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return ImageStore(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def policy(folder: Path) -> PackedPolicy:
    from gen_searcher.engines.qwen_forward import load_qwen

    return PackedPolicy(load_qwen(folder, dtype=torch.float32), banned_ids=(), chunk_tokens=64)


@pytest.fixture
def pack_row(store: ImageStore) -> Callable[..., RowTensors]:
    def make(*samples: Sample) -> RowTensors:
        return row_tensors(samples, image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref)))

    return make


def score(policy: PackedPolicy, row: RowTensors) -> list[Tensor]:
    """Log-probabilities of each sample of the row."""
    with torch.no_grad():
        logprobs, _ = policy(row, 1.0)
    return list(logprobs.split(row.trained_of_sample))


def test_packed_samples_score_as_they_do_alone(
    policy: PackedPolicy, store: ImageStore, pack_row: Callable[..., RowTensors]
):
    samples = mixed_samples(store)
    together = score(policy, pack_row(*samples))
    for one, packed in zip(samples, together, strict=True):
        (alone,) = score(policy, pack_row(one))
        assert (alone - packed).abs().max() < 1e-5


def test_scores_equal_those_of_transformers_own_forward_pass(
    folder: Path, policy: PackedPolicy, store: ImageStore, pack_row: Callable[..., RowTensors]
):
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    for one in mixed_samples(store):
        row = pack_row(one)
        ids = torch.from_numpy(expand(one, image_token_id=IMAGE_TOKEN).token_ids)[None]
        with_pictures = {"pixel_values": _patches(one, store), "image_grid_thw": _grids(one)} if one.images else {}
        kinds = (ids == IMAGE_TOKEN).int()
        with torch.no_grad():
            table = model(input_ids=ids, mm_token_type_ids=kinds, **with_pictures).logits[0].log_softmax(-1)
        expected = table[row.predictors, row.targets]
        assert (score(policy, row)[0] - expected).abs().max() < 1e-5


def _patches(one: Sample, store: ImageStore) -> Tensor:
    return torch.cat([image_patches(store.get(image)) for image in one.images])


def _grids(one: Sample) -> Tensor:
    return torch.tensor([[1, image.height_px // 16, image.width_px // 16] for image in one.images])


def test_positions_equal_those_of_transformers(store: ImageStore):
    model = tiny_qwen()
    views = tuple(picture(store, n, width=w, height=h) for n, (w, h) in enumerate([(32, 32), (128, 64), (64, 160)]))
    for images in ((), views[:1], views, views[::-1]):
        one = sample(seed=8, tokens=30, images=images)
        expanded = expand(one, image_token_id=IMAGE_TOKEN)
        ids = torch.from_numpy(expanded.token_ids)[None]
        expected, _ = model.model.get_rope_index(
            cast("torch.LongTensor", ids),
            cast("torch.IntTensor", (ids == IMAGE_TOKEN).int()),
            image_grid_thw=cast("torch.LongTensor", _grids(one)) if images else None,
        )
        assert torch.equal(torch.from_numpy(expanded.positions), expected[:, 0])


def test_patches_equal_those_of_transformers_image_processor(store: ImageStore):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        size={"shortest_edge": 32 * 32, "longest_edge": 2**24},
    )  # fmt: skip
    for width, height in ((32, 32), (128, 96), (64, 224)):
        image = store.get(picture(store, width, width=width, height=height))
        expected = processor(images=[image], return_tensors="pt")
        assert (image_patches(image) - expected["pixel_values"]).abs().max() < 1e-6
        assert expected["image_grid_thw"].tolist() == [[1, height // 16, width // 16]]


def test_a_sample_sees_its_pictures(policy: PackedPolicy, store: ImageStore, pack_row: Callable[..., RowTensors]):
    one = mixed_samples(store)[2]
    before, after = score(policy, pack_row(one))[0], score(policy, pack_row(replace(one, images=one.images[::-1])))[0]
    assert (before - after).abs().max() > 1e-3


def test_a_sample_does_not_see_its_neighbours(
    policy: PackedPolicy, store: ImageStore, pack_row: Callable[..., RowTensors]
):
    samples = mixed_samples(store)
    changed = replace(samples[0], token_ids=(7, 7, 7, *samples[0].token_ids[3:]), images=(samples[4].images[0],))
    before, after = score(policy, pack_row(*samples)), score(policy, pack_row(changed, *samples[1:]))
    assert (before[0] - after[0]).abs().max() > 1e-3
    for left, right in zip(before[1:], after[1:], strict=True):
        assert (left - right).abs().max() < 1e-6


def test_a_picture_shown_twice_is_encoded_once(pack_row: Callable[..., RowTensors], store: ImageStore):
    row = pack_row(*mixed_samples(store))
    assert row.picture_of_I == (0, 0, 1, 2, 2, 0)
    assert len(row.grids) == 3
    assert len(row.patches) == int(row.grids.prod(-1).sum())


def test_a_row_without_pictures_walks_the_vision_tower_and_leaves_no_trace(
    policy: PackedPolicy, pack_row: Callable[..., RowTensors]
):
    for row in (pack_row(sample(seed=3, tokens=30)), pack_row()):
        policy.zero_grad()
        logprobs, _ = policy(row, 1.0)
        logprobs.sum().backward()
        norms = {name: p.grad.abs().max() for name, p in policy.named_parameters() if p.grad is not None}
        assert norms.keys() == dict(policy.named_parameters()).keys()
        assert all(float(norm) == 0.0 for name, norm in norms.items() if "visual" in name)
    policy.zero_grad()


def test_pictures_teach_the_vision_tower(policy: PackedPolicy, store: ImageStore, pack_row: Callable[..., RowTensors]):
    policy.zero_grad()
    logprobs, _ = policy(pack_row(mixed_samples(store)[0]), 1.0)
    logprobs.sum().backward()
    weight = policy.model.model.visual.patch_embed.proj.weight
    assert weight.grad is not None
    assert float(weight.grad.abs().max()) > 1e-4
    policy.zero_grad()


def test_a_folder_without_a_model_is_a_user_error(tmp_path: Path):
    from gen_searcher.engines.qwen_forward import load_qwen

    with pytest.raises(UserError, match=r"no config\.json"):
        load_qwen(tmp_path, dtype=torch.float32)
