"""Pixel statistics."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gen_searcher.rewards.offline.similarity import GRID, bank, grid

ALL = np.ones((GRID, GRID), dtype=np.bool_)


def noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(3))


def test_a_picture_is_fully_like_itself_and_hardly_like_another() -> None:
    grids = [grid(noise(seed)) for seed in range(20)]
    shelf = bank(grids, ALL)
    for row, query in enumerate(grids):
        likeness = shelf.similarity(query, range(20))
        assert likeness[row] == pytest.approx(1.0, abs=1e-3)
        assert np.delete(likeness, row).max() < 0.5


def test_the_correlation_is_the_cosine_of_the_centred_channels() -> None:
    a, b = grid(noise(1)), grid(noise(2))
    x, y = ((g - g.mean(axis=(1, 2), keepdims=True)).ravel() for g in (a, b))
    expected = float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert bank([b], ALL).correlation(a)[0] == pytest.approx(expected, abs=1e-4)


def test_brightness_does_not_change_the_correlation() -> None:
    a = grid(noise(3))
    assert bank([a], ALL).correlation(a * 0.7)[0] == pytest.approx(1.0, abs=1e-4)


def test_covered_cells_do_not_count() -> None:
    visible = ALL.copy()
    visible[8:, 8:] = False
    a = grid(noise(4))
    b = a.copy()
    b[:, 8:, 8:] = 0.0
    assert bank([a], visible).similarity(b, [0])[0] == pytest.approx(1.0, abs=1e-3)
    assert bank([a], ALL).similarity(b, [0])[0] < 0.9


def test_the_grid_is_ycbcr_of_each_cells_mean() -> None:
    cells = grid(Image.new("RGB", (64, 64), (255, 0, 0)))
    assert cells.shape == (3, GRID, GRID)
    assert cells[:, 0, 0] == pytest.approx([76 / 255, 85 / 255, 1.0], abs=0.005)
