"""How a drawing looks beside the clean picture it comes closest to: sharp, clean, as colourful, on the right ground.

All inputs are RGB pictures of the same size; every score is 0..1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen_searcher.rewards.offline.similarity import Floats

_FLAT_FRAC = 0.3
"""Share of the pixels, the flattest ones of the clean picture, in which noise is measured."""
_CLEAN_NOISE, _FULL_NOISE = 0.02, 0.12
"""Standard deviations (of 0..1) at which the score is 1 and 0."""
_RIGHT_GROUND, _WRONG_GROUND = 0.10, 0.40
"""Mean differences (of 0..1) at which the background's score is 1 and 0."""


def ramp(value: float, *, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight in between; `low` may be the larger one."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def aesthetics(drawn: Image.Image, clean: Image.Image) -> float:
    """Geometric mean of sharpness, cleanness and colourfulness."""
    ours, theirs = _ycbcr(drawn), _ycbcr(clean)
    product = sharpness(ours[0], theirs[0]) * cleanness(ours[0], theirs[0]) * colourfulness(ours, theirs)
    return product ** (1.0 / 3.0)


def sharpness(drawn: Floats, clean: Floats) -> float:
    """How much of each edge is there: slope of the drawing's brightness gradients over the clean picture's.

    1 for equal pictures, less for blur; noise has no say because it does not follow the edges.
    """
    ours, theirs = _gradients(drawn), _gradients(clean)
    energy = float((theirs * theirs).sum())
    return ramp(float((ours * theirs).sum()) / energy, low=0.0, high=1.0) if energy > 1e-6 else 1.0


def cleanness(drawn: Floats, clean: Floats) -> float:
    """1 without noise; measured as what a 3 x 3 mean removes from the difference, where the clean picture is flat."""
    edges: Floats = np.abs(_gradients(clean)).sum(axis=0)
    added = drawn - clean
    rough = added[1:-1, 1:-1] - _mean3(added)
    flat = edges[:-1, :-1] <= float(np.quantile(edges, _FLAT_FRAC))
    return ramp(float(rough[flat].std()), low=_FULL_NOISE, high=_CLEAN_NOISE)


def colourfulness(drawn: Floats, clean: Floats) -> float:
    """1 when the mean distance from gray is the same, less the more it differs either way."""
    ours, theirs = _chroma(drawn), _chroma(clean)
    return 1.0 - abs(ours - theirs) / (max(ours, theirs) + 0.05)


def background(drawn: Image.Image, clean: Image.Image, covered: NDArray[np.bool_]) -> float:
    """1 when everything outside the `covered` pixels [H, W] is as in the clean picture."""
    if covered.all():
        return 1.0
    difference = np.abs(_rgb(drawn) - _rgb(clean)).mean(axis=2)[~covered]
    return ramp(float(difference.mean()), low=_WRONG_GROUND, high=_RIGHT_GROUND)


def _rgb(image: Image.Image) -> Floats:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0


def _ycbcr(image: Image.Image) -> Floats:
    return np.asarray(image.convert("YCbCr"), dtype=np.float32).transpose(2, 0, 1) / 255.0


def _chroma(planes: Floats) -> float:
    return float(np.hypot(planes[1] - 0.5, planes[2] - 0.5).mean())


def _gradients(plane: Floats) -> Floats:
    """[2, H-1, W-1] differences to the right and down."""
    return np.stack((plane[:-1, 1:] - plane[:-1, :-1], plane[1:, :-1] - plane[:-1, :-1]))


def _mean3(plane: Floats) -> Floats:
    """[H-2, W-2] mean of each 3 x 3 neighbourhood."""
    rows = plane[:-2] + plane[1:-1] + plane[2:]
    mean: Floats = ((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0).astype(np.float32)
    return mean
