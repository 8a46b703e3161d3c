"""Row -> tensors: one packed sequence with its pictures, and the list of positions that are trained.

Legend: T expanded tokens of the row, S segments (samples), N trained tokens, I placeholders, U distinct pictures,
P patches of the distinct pictures.
"""

# pyright: reportUnknownMemberType=false
# (torch.from_numpy is declared without a type for its argument)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from gen_searcher.grpo.pack import Row
from gen_searcher.grpo.vision import MERGED_PATCH_PX, expand, merged_grid
from gen_searcher.types import ImageRef, Sample

PATCH_PX = 16
MERGE = MERGED_PATCH_PX // PATCH_PX
FRAMES = 2
"""A still picture fills both frames of a Qwen3-VL patch."""
PATCH_VALUES = 3 * FRAMES * PATCH_PX * PATCH_PX

Pixels = Callable[[ImageRef], Tensor]
"""Patches of a picture, [patches, PATCH_VALUES]; `image_patches` of a stored picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowTensors:
    """What one forward pass and its loss read."""

    input_ids: Tensor
    """[T] int64"""
    positions: Tensor
    """[3, T] int64"""
    cu_seqlens: Tensor
    """[S + 1] int32; where each segment starts, and T."""
    longest: int
    """Tokens of the longest segment."""
    patches: Tensor
    """[P, PATCH_VALUES] float32; each distinct picture of the row once. Empty when nobody asked for pixels."""
    grids: Tensor
    """[U, 3] int64; frames, patch rows and patch columns of each distinct picture."""
    pictures_U: tuple[ImageRef | None, ...]
    """[U] the distinct pictures; None is the blank one."""
    picture_of_I: tuple[int, ...]
    """[I] which distinct picture each placeholder shows."""
    predictors: Tensor
    """[N] int64; the position whose output predicts the trained token, i.e. the one before it in its segment."""
    targets: Tensor
    """[N] int64; the trained tokens."""
    old_logprobs: Tensor
    """[N] float32; when it was sampled, before top-p, top-k and min-p."""
    log_kept: Tensor
    """[N] float32; natural log of the mass that these filters left to sample from, 0 where they cut nothing."""
    advantages: Tensor
    """[N] float32; the advantage of the token's sample."""
    trained_of_sample: tuple[int, ...]
    """Trained tokens of each sample of the row, in order; they add up to N."""


def image_patches(image: Image) -> Tensor:
    """Patches of an RGB picture whose sides are multiples of 32 px, [patches, PATCH_VALUES].

    The numbers and their order are those of Qwen's image processor: values in -1..1, patches in blocks of 2 x 2
    so that a vision token's four patches are neighbours, and within a patch channel, frame, row, column.
    """
    width, height = image.size
    if width % MERGED_PATCH_PX or height % MERGED_PATCH_PX:
        raise ValueError(f"picture of {width}x{height} px: both sides must be multiples of {MERGED_PATCH_PX} px")
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1.0
    rows, columns = height // MERGED_PATCH_PX, width // MERGED_PATCH_PX
    blocks = pixels.reshape(rows, MERGE, PATCH_PX, columns, MERGE, PATCH_PX, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    frames = np.repeat(blocks[:, :, :, :, :, None], FRAMES, axis=5)
    return torch.from_numpy(np.ascontiguousarray(frames).reshape(rows * columns * MERGE * MERGE, PATCH_VALUES))


def row_tensors(row: Row, *, image_token_id: int, pixels: Pixels | None) -> RowTensors:
    """Lay the row's samples one behind the other.

    A row without pictures gets a blank one of 32 x 32 px as a segment of its own, which nobody sees and nothing is
    learnt from: all ranks must walk the vision tower in every micro-batch, or their collectives do not meet.

    Args:
        row: Samples, possibly none.
        image_token_id: The placeholder.
        pixels: Patches of a picture; None when the features come from a cache.
    """
    ids: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    predictors: list[np.ndarray] = []
    starts = [0]
    for sample in row:
        expanded = expand(sample, image_token_id=image_token_id)
        if expanded.loss_mask[:1].any():
            raise ValueError("a sample whose first token is trained: nothing comes before it")
        ids.append(expanded.token_ids)
        positions.append(expanded.positions)
        predictors.append(np.flatnonzero(expanded.loss_mask) - 1 + starts[-1])
        starts.append(starts[-1] + len(expanded.token_ids))
    images = [image for sample in row for image in sample.images]
    if not images:
        ids.append(np.array([image_token_id], dtype=np.int64))
        positions.append(np.zeros((3, 1), dtype=np.int64))
        starts.append(starts[-1] + 1)
    input_ids = torch.from_numpy(np.concatenate(ids))
    index = torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *predictors]))
    shown = _Shown.of(images, pixels)
    trained = tuple(sample.trained_tokens for sample in row)
    advantages = torch.tensor([sample.advantage for sample in row], dtype=torch.float32)
    return RowTensors(
        input_ids=input_ids,
        positions=torch.from_numpy(np.concatenate(positions, axis=1)),
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        longest=int(np.diff(starts).max()),
        patches=shown.patches,
        grids=shown.grids,
        pictures_U=shown.pictures_U,
        picture_of_I=shown.picture_of_I,
        predictors=index,
        targets=input_ids[index + 1],
        old_logprobs=torch.tensor(
            [lp for sample in row for lp in _sampled(sample, sample.logprobs)], dtype=torch.float32
        ),
        log_kept=torch.tensor([lk for sample in row for lk in _sampled(sample, sample.log_kept)], dtype=torch.float32),
        advantages=advantages.repeat_interleave(torch.tensor(trained, dtype=torch.int64)),
        trained_of_sample=trained,
    )


def _sampled(sample: Sample, values: tuple[float, ...]) -> list[float]:
    """Those of the trained tokens; zeros for a sample without such values."""
    if not values:
        return [0.0] * sample.trained_tokens
    return [value for value, is_sampled in zip(values, sample.loss_mask, strict=True) if is_sampled]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """The distinct pictures of a row: the attempts of a group look at the same ones again and again."""

    patches: Tensor
    grids: Tensor
    pictures_U: tuple[ImageRef | None, ...]
    picture_of_I: tuple[int, ...]

    @staticmethod
    def of(images: list[ImageRef], pixels: Pixels | None) -> _Shown:
        distinct: tuple[ImageRef | None, ...] = tuple(dict.fromkeys(images)) or (None,)
        number = {image: index for index, image in enumerate(distinct)}
        patches = [] if pixels is None else [blank_patches() if i is None else pixels(i) for i in distinct]
        return _Shown(
            patches=torch.cat([torch.zeros(0, PATCH_VALUES), *patches]),
            grids=torch.tensor([patch_grid(image) for image in distinct]),
            pictures_U=distinct,
            picture_of_I=tuple(number[image] for image in images) or (0,),
        )


def blank_patches() -> Tensor:
    """Of the picture of 32 x 32 px that stands in for none, [MERGE * MERGE, PATCH_VALUES]."""
    return torch.zeros(MERGE * MERGE, PATCH_VALUES)


def patch_grid(image: ImageRef | None) -> tuple[int, int, int]:
    """Frames, patch rows and patch columns of a picture; None is the blank one."""
    if image is None:
        return 1, MERGE, MERGE
    grid = merged_grid(image)
    return 1, grid.rows * MERGE, grid.columns * MERGE
