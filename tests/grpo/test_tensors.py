from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from gen_searcher.grpo.tensors import PATCH_VALUES, image_patches, row_tensors
from gen_searcher.types import ImageRef, Sample

VIEW = ImageRef(sha256="d" * 64, width_px=64, height_px=32)


def blank(ref: ImageRef) -> torch.Tensor:
    return torch.ones(ref.width_px * ref.height_px // 256, PATCH_VALUES)


A = Sample(
    token_ids=(5, 90, 6, 7),
    loss_mask=(False, False, True, True),
    logprobs=(0, 0, -1, -2),
    images=(VIEW,),
    advantage=0.5,
)
B = Sample(token_ids=(8, 9, 3), loss_mask=(False, True, False), logprobs=(0, -3, 0), images=(), advantage=-1.0)


def test_a_row_lists_each_trained_token_behind_the_position_that_predicts_it():
    row = row_tensors((A, B), image_token_id=90, pixels=blank)
    assert row.input_ids.tolist() == [5, 90, 90, 6, 7, 8, 9, 3]
    assert row.positions[2].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert row.cu_seqlens.tolist() == [0, 5, 8]
    assert row.predictors.tolist() == [2, 3, 5]
    assert row.targets.tolist() == [6, 7, 9]
    assert row.old_logprobs.tolist() == [-1, -2, -3]
    assert row.log_kept.tolist() == [0, 0, 0]
    assert row.advantages.tolist() == [0.5, 0.5, -1.0]
    assert row.trained_of_sample == (2, 1)
    assert row.grids.tolist() == [[1, 2, 4]]
    assert row.patches.shape == (8, PATCH_VALUES)


def test_the_kept_mass_follows_the_trained_tokens_and_is_zero_where_nobody_recorded_it():
    cut = replace(A, log_kept=(0.0, 0.0, -0.25, -0.5))
    assert row_tensors((cut, B), image_token_id=90, pixels=blank).log_kept.tolist() == [-0.25, -0.5, 0.0]


def test_a_row_without_pictures_ends_in_a_blank_one_of_its_own():
    row = row_tensors((B,), image_token_id=90, pixels=blank)
    assert row.input_ids.tolist() == [8, 9, 3, 90]
    assert row.cu_seqlens.tolist() == [0, 3, 4]
    assert row.predictors.tolist() == [0]
    assert float(row.patches.abs().max()) == 0.0


def test_a_padding_row_trains_nothing():
    row = row_tensors((), image_token_id=90, pixels=blank)
    assert row.input_ids.tolist() == [90]
    assert row.targets.shape == row.old_logprobs.shape == row.log_kept.shape == row.advantages.shape == (0,)


def test_a_first_token_cannot_be_trained():
    first = Sample(token_ids=(4,), loss_mask=(True,), logprobs=(-1.0,), images=(), advantage=1)
    with pytest.raises(ValueError, match="nothing comes before it"):
        row_tensors((first,), image_token_id=90, pixels=blank)


def test_pixels_run_from_minus_one_to_one_channel_by_channel():
    patches = image_patches(Image.new("RGB", (32, 32), (255, 0, 51)))
    assert patches.shape == (4, PATCH_VALUES)
    assert patches[0].view(3, -1)[:, 0].tolist() == pytest.approx([1.0, -1.0, -0.6])


def test_a_picture_of_odd_size_is_refused():
    with pytest.raises(ValueError, match="33x32 px"):
        image_patches(Image.new("RGB", (33, 32)))
