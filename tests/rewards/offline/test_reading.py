"""Words for layout and style."""

from __future__ import annotations

import itertools

import pytest

from gen_searcher.rewards.offline.reading import layout_in, styles_in
from gen_searcher.world.canvas import LAYOUTS, STYLES, wording


@pytest.mark.parametrize(("layout", "style"), list(itertools.product(LAYOUTS, STYLES)))
def test_every_paraphrase_of_the_canvas_is_understood(layout: str, style: str) -> None:
    for variant in range(100):
        words = wording(layout=layout, style=style, caption="Inset at night, in gray", variant=variant)
        assert layout_in(words) == layout, words
        assert styles_in(words) | {"plain"} == {style, "plain"}, words


def test_words_inside_the_caption_ask_for_nothing() -> None:
    assert styles_in('the first reference image alone. caption "at night in gray"') == frozenset()
    assert styles_in("the first reference image alone, in gray. caption: at night") == {"gray"}
    assert styles_in('caption: "at night", the first reference image alone, in gray') == {"gray"}


def test_a_prompt_that_lists_every_style_asks_for_all_of_them() -> None:
    assert styles_in("the first reference image alone, at night, in gray, in a red frame") == {
        "night",
        "gray",
        "framed",
    }


def test_a_negated_frame_is_no_frame() -> None:
    assert styles_in("the first reference image, without a frame") == {"plain"}


def test_a_prompt_that_names_no_reference_has_no_layout() -> None:
    assert layout_in("a flag beside a map") is None
    assert layout_in("the first reference image beside the second") == "beside"
    assert layout_in("the second beside the first reference image") is None
