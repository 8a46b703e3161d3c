"""How alike two small pictures are: plain pixel statistics, which tell flags apart better than learned features.

    picture -> grid [3, G, G] -> similarity = (correlation + SSIM) / 2

Correlation is the cosine of the two grids with each channel's mean removed (so brightness and tint drop out);
SSIM is the structural similarity over 5 x 5 windows, mean over windows and channels. Both are 1 for equal pictures.

Axes: N pictures, G cells a side, W windows a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 16
"""Cells a side: coarse enough to forgive a small denoiser's blur, fine enough to tell 271 flags apart."""
WINDOW = 5
"""Side of an SSIM window in cells."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_C1, _C2 = 1e-4, 9e-4
"""SSIM's constants for values in 0..1: (0.01)^2 and (0.03)^2."""


def grid(image: Image.Image) -> Floats:
    """[3, G, G] YCbCr in 0..1, each cell the mean of its pixels."""
    cells = image.convert("YCbCr").resize((GRID, GRID), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(cells, dtype=np.float32).transpose(2, 0, 1)) / np.float32(255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Grids made ready for comparison."""

    grids_N: Floats
    """[N, 3, G, G]"""
    units_N: Floats
    """[N, D] the visible cells with channel means removed, scaled to length one."""
    visible: Mask
    """[G, G] cells that count; the others are covered by something else."""

    def correlation(self, query: Floats) -> Floats:
        """[N] cosine between the query grid [3, G, G] and each picture."""
        return self.units_N @ _units(query[None], self.visible)[0]

    def similarity(self, query: Floats, rows: Sequence[int] | NDArray[np.intp]) -> Floats:
        """[len(rows)] similarity, -1..1, between the query grid and the chosen pictures."""
        correlation = self.units_N[rows] @ _units(query[None], self.visible)[0]
        return (correlation + _ssim(query, self.grids_N[rows], self.visible)) / 2


def bank(grids: Sequence[Floats], visible: Mask) -> Bank:
    """Make grids ready for comparison where `visible` is true."""
    grids_N = np.stack(list(grids))
    return Bank(grids_N=grids_N, units_N=_units(grids_N, visible), visible=visible)


def _units(grids_N: Floats, visible: Mask) -> Floats:
    cells = grids_N[:, :, visible]
    centred = (cells - cells.mean(axis=2, keepdims=True)).reshape(len(grids_N), -1)
    return centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6)


def _ssim(query: Floats, others_N: Floats, visible: Mask) -> Floats:
    whole = _window_means(visible.astype(np.float32)) > 1.0 - 1e-4
    mean_q, mean_o = _window_means(query), _window_means(others_N)
    var_q = _window_means(query * query) - mean_q**2
    var_o = _window_means(others_N * others_N) - mean_o**2
    cov = _window_means(query * others_N) - mean_q * mean_o
    score = (2 * mean_q * mean_o + _C1) * (2 * cov + _C2) / ((mean_q**2 + mean_o**2 + _C1) * (var_q + var_o + _C2))
    return score[..., whole].mean(axis=(1, 2), dtype=np.float32)


def _window_means(values: Floats) -> Floats:
    """[..., W, W] mean of each window, from sums over the corner rectangles."""
    padding = ((0, 0),) * (values.ndim - 2) + ((1, 0), (1, 0))
    sums = np.pad(values, padding).cumsum(axis=-1).cumsum(axis=-2)
    k = WINDOW
    totals: Floats = sums[..., k:, k:] - sums[..., :-k, k:] - sums[..., k:, :-k] + sums[..., :-k, :-k]
    return (totals / (k * k)).astype(np.float32)
