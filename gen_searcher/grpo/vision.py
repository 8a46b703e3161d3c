"""A picture among tokens: how many tokens it takes, and which positions they have. Torch-free.

    Sample (one placeholder per picture) -> Expanded (one token per merged patch, with mRoPE positions)

Legend: t unexpanded tokens, T expanded tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen_searcher.types import ImageRef, Sample

MERGED_PATCH_PX = 32
"""One vision token of Qwen3-VL covers 2 x 2 patches of 16 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedGrid:
    """Vision tokens of one picture, row by row."""

    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """How many tokens the picture takes."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A sample as the model reads it."""

    token_ids: NDArray[np.int64]
    """[T]"""
    positions: NDArray[np.int64]
    """[3, T] time, row and column for multimodal rotary embedding."""
    loss_mask: NDArray[np.bool_]
    """[T]"""


def merged_grid(image: ImageRef) -> MergedGrid:
    """The picture's grid of vision tokens. Both sides must be multiples of 32 px, so that nobody resizes it."""
    if image.width_px % MERGED_PATCH_PX or image.height_px % MERGED_PATCH_PX or not image.width_px * image.height_px:
        raise ValueError(
            f"picture {image.sha256[:12]} of {image.width_px}x{image.height_px} px: "
            f"both sides of a view must be multiples of {MERGED_PATCH_PX} px"
        )
    return MergedGrid(rows=image.height_px // MERGED_PATCH_PX, columns=image.width_px // MERGED_PATCH_PX)


def vision_tokens(image: ImageRef) -> int:
    """How many tokens the picture takes."""
    return merged_grid(image).tokens


def expand(sample: Sample, *, image_token_id: int) -> Expanded:
    """Repeat each placeholder once per vision token of its picture.

    The policy must not have sampled a placeholder itself: such a token has no picture.
    """
    token_ids_t = np.asarray(sample.token_ids, dtype=np.int64)
    mask_t = np.asarray(sample.loss_mask, dtype=np.bool_)
    is_picture_t = token_ids_t == image_token_id
    placeholders = int(is_picture_t.sum())
    if placeholders != len(sample.images):
        raise ValueError(f"a sample with {placeholders} placeholders and {len(sample.images)} pictures")
    if bool((is_picture_t & mask_t).any()):
        raise ValueError(f"a sample in which placeholder {image_token_id} was sampled: ban it when sampling")
    grids = [merged_grid(image) for image in sample.images]
    repeats_t = np.ones(len(token_ids_t), dtype=np.int64)
    repeats_t[is_picture_t] = [grid.tokens for grid in grids]
    return Expanded(
        token_ids=np.repeat(token_ids_t, repeats_t),
        positions=mrope_positions(is_picture_t, grids),
        loss_mask=np.repeat(mask_t, repeats_t),
    )


def mrope_positions(is_picture_t: NDArray[np.bool_], grids: Sequence[MergedGrid]) -> NDArray[np.int64]:
    """Positions of one sequence, [3, T], as in Qwen2-VL, https://arxiv.org/abs/2409.12191, section 2.1.

    A text token stands at the same time, row and column, one further than what came before. A picture's tokens
    share the time at which the picture starts and count rows and columns from it; the text after a picture goes
    on behind its longer side.

    Args:
        is_picture_t: [t] True for each placeholder.
        grids: One for each placeholder, in order.
    """
    advance_t = np.ones(len(is_picture_t), dtype=np.int64)
    advance_t[is_picture_t] = [max(grid.rows, grid.columns) for grid in grids]
    repeats_t = np.ones(len(is_picture_t), dtype=np.int64)
    repeats_t[is_picture_t] = [grid.tokens for grid in grids]
    start_t = np.cumsum(advance_t) - advance_t
    positions = np.repeat(start_t, repeats_t)[None].repeat(3, axis=0)
    first_t = np.cumsum(repeats_t) - repeats_t
    for first, grid in zip(first_t[is_picture_t], grids, strict=True):
        place = slice(int(first), int(first) + grid.tokens)
        positions[1, place] += np.repeat(np.arange(grid.rows), grid.columns)
        positions[2, place] += np.tile(np.arange(grid.columns), grid.rows)
    return positions
