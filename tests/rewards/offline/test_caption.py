"""Reading the strip, with the real recogniser."""

from __future__ import annotations

import pytest
from PIL import Image

from gen_searcher.rewards.offline import caption
from gen_searcher.world.canvas import compose


@pytest.fixture(scope="module")
def reader() -> caption.OcrReader:
    return caption.OcrReader()


def strip_with(text: str | None) -> Image.Image:
    return compose([Image.new("RGB", (64, 64), "teal")], layout="alone", style="plain", caption=text)


@pytest.mark.parametrize(
    "text", ["BA", "WARSAW", "RIKEN 2015", "Vega 0.03", "1865", "Saint Vincent and the Grenadines", "Curaçao", "İzmir"]
)
def test_what_the_canvas_sets_is_read_exactly(text: str, reader: caption.OcrReader) -> None:
    assert max(caption.text_accuracy(text, found) for found in caption.readings(strip_with(text), reader)) == 1.0


def test_an_empty_strip_has_no_ink_and_no_reading(reader: caption.OcrReader) -> None:
    assert not caption.has_ink(strip_with(None))
    assert caption.readings(strip_with(None), reader) == ()
    assert caption.has_ink(strip_with("BA"))


@pytest.mark.parametrize(
    ("wanted", "found", "score"),
    [
        ("WARSAW", "warsaw", 1.0),
        ("Vega 0.03", "Vega0.03", 1.0),
        ("Curaçao", "Curaao", 1.0),
        ("Apia", "Apía", 1.0),
        ("WARSAW", "WARSAV", 2 * 5 / 6 - 1),
        ("WARSAW", "MOSCOW", 0.0),
        ("WARSAW", "", 0.0),
        ("BA", "BABABABA", 0.0),
        ("AUSTRIA", "AUSTRALIA", 2 * 7 / 9 - 1),
    ],
)
def test_accuracy_falls_with_each_wrong_letter_and_garbage_gets_nothing(wanted: str, found: str, score: float) -> None:
    assert caption.text_accuracy(wanted, found) == pytest.approx(score)


@pytest.mark.parametrize(
    ("wanted", "found", "edits"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0)]
)
def test_the_edit_distance_is_levenshteins(wanted: str, found: str, edits: int) -> None:
    assert caption.edit_distance(wanted, found) == edits
