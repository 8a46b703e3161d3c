from __future__ import annotations

import io
import math

import pytest
from PIL import Image, ImageDraw

from gen_searcher.data.nearness import Guarded, Pictures, Requests, jaccard, look_of, shingles
from tests.data.pipeline_parts import photo


def test_case_accents_and_punctuation_do_not_count() -> None:
    assert shingles("Draw the  FLAG, of Pölska!") == shingles("draw the flag of polska")


def test_the_similarity_is_shared_shingles_over_all() -> None:
    # abcde bcdef cdefg | bcdef cdefg defgh: two of four
    assert jaccard(shingles("abcdefg"), shingles("bcdefgh")) == 0.5


def test_a_reworded_request_is_found_among_thousands_and_another_is_not() -> None:
    requests = Requests()
    for number in range(2000):
        requests.add(f"r{number}", f"Portrait number {number * 7919} of the mayor of town {number * 104729}.")
    requests.add("mine", "Draw the bridge that was built by the engineer who also designed the tower in Porto.")
    near = requests.nearest("Draw the bridge built by the engineer who also designed the tower in Porto")
    assert near is not None
    assert (near.name, near.similarity > 0.8) == ("mine", True)
    far = requests.nearest("A chart of the constellation that holds the star Mirfak")
    assert far is None or far.similarity < 0.3


def test_what_stands_beside_a_guarded_request_does_not_hide_it() -> None:
    guarded, text = Guarded(), "Draw the bridge that was built by the engineer who also designed the tower in Porto."
    assert guarded.held(text) is None, "nothing is guarded"
    guarded.add("mine", text)
    guarded.add("other", "Draw the harp of the constellation in which the star Vega stands.")
    for told, least in (
        (text, 1.0),
        (f"For our report we need this: {text} Keep it friendly, square and free of any lettering.", 0.98),
        (f"Please paint{text.removeprefix('Draw')}", 0.9),
    ):
        near = guarded.held(told)
        assert near is not None
        assert (near.name, near.similarity >= least) == ("mine", True)
    far = guarded.held("A chart of the harbour of Lisbon.")
    assert far is not None
    assert far.similarity < 0.2
    assert guarded.held("xyzzy plugh") is None


def test_what_many_guarded_requests_share_weighs_little() -> None:
    """Of two shingles the one that a single request has counts log(1 + 4/1), the one that all have log(1 + 4/4)."""
    guarded = Guarded()
    for last in "efgh":
        guarded.add(last, f"vwxyz{last}")
    near = guarded.held("vwxyz!")
    assert near is not None
    assert near.similarity == pytest.approx(math.log(2) / (math.log(2) + math.log(5)))


@pytest.mark.parametrize("seed", range(6))
def test_a_picture_is_known_again_after_scaling_and_recompression(seed: int) -> None:
    pictures = Pictures()
    for other in range(80):
        pictures.add(f"p{other}", look_of(photo(other, side_px=96)))
    buffer = io.BytesIO()
    photo(seed, side_px=96).resize((200, 200), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=80)
    assert pictures.near(look_of(Image.open(buffer)), bits=6) == f"p{seed}"


def test_equal_brightness_is_not_an_equal_picture() -> None:
    green, red = (Image.new("RGB", (60, 40), colour) for colour in ((0, 100, 0), (196, 0, 0)))
    assert green.convert("L").getpixel((0, 0)) == red.convert("L").getpixel((0, 0)) == 59
    pictures = Pictures()
    pictures.add("green", look_of(green))
    assert pictures.near(look_of(red), bits=0) is None
    assert pictures.near(look_of(green), bits=0) == "green"


def test_another_line_of_text_is_another_picture() -> None:
    def card(text: str) -> Image.Image:
        image = Image.new("RGB", (128, 96), "white")
        ImageDraw.Draw(image).text((20, 70), text, fill="black")
        return image

    pictures = Pictures()
    pictures.add("one", look_of(card("Warsaw is here")))
    assert pictures.near(look_of(card("10")), bits=8) is None
