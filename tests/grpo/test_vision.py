from __future__ import annotations

import numpy as np
import pytest

from gen_searcher.grpo.vision import expand, vision_tokens
from gen_searcher.types import ImageRef, Sample


def view(width: int, height: int) -> ImageRef:
    return ImageRef(sha256="c" * 64, width_px=width, height_px=height)


def test_a_placeholder_becomes_one_token_for_each_merged_patch():
    sample = Sample(
        token_ids=(5, 90, 6, 7),
        loss_mask=(False, False, False, True),
        logprobs=(0, 0, 0, -1),
        images=(view(96, 64),),
        advantage=1,
    )
    expanded = expand(sample, image_token_id=90)
    assert expanded.token_ids.tolist() == [5, 90, 90, 90, 90, 90, 90, 6, 7]
    assert expanded.loss_mask.tolist() == [False] * 8 + [True]
    assert expanded.positions.tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 4, 5],
        [0, 1, 1, 1, 2, 2, 2, 4, 5],
        [0, 1, 2, 3, 1, 2, 3, 4, 5],
    ]


def test_text_alone_counts_up():
    sample = Sample(token_ids=(5, 6), loss_mask=(False, True), logprobs=(0, -1), images=(), advantage=1)
    assert np.array_equal(expand(sample, image_token_id=90).positions, [[0, 1]] * 3)


def test_a_view_that_somebody_would_resize_is_refused():
    with pytest.raises(ValueError, match="100x64 px: both sides of a view must be multiples of 32"):
        vision_tokens(view(100, 64))


@pytest.mark.parametrize(
    ("ids", "images", "message"), [((5, 90), 2, "1 placeholders and 2"), ((5, 6), 1, "0 placeholders and 1")]
)
def test_placeholders_and_pictures_must_match(ids: tuple[int, ...], images: int, message: str):
    sample = Sample(
        token_ids=ids, loss_mask=(False, False), logprobs=(0, 0), images=(view(32, 32),) * images, advantage=1
    )
    with pytest.raises(ValueError, match=message):
        expand(sample, image_token_id=90)


def test_a_sampled_placeholder_is_refused():
    sample = Sample(token_ids=(5, 90), loss_mask=(False, True), logprobs=(0, -1), images=(view(32, 32),), advantage=1)
    with pytest.raises(ValueError, match="was sampled: ban it"):
        expand(sample, image_token_id=90)
