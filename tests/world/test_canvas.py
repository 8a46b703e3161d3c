from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gen_searcher.world import canvas

RED = Image.new("RGB", (128, 128), (250, 10, 10))
BLUE = Image.new("RGB", (128, 128), (10, 10, 250))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int32)


def test_alone_puts_the_picture_in_the_middle_on_white() -> None:
    drawn = canvas.compose([RED], layout="alone", style="plain", caption=None)
    assert drawn.size == (128, 96)
    assert drawn.getpixel((64, 32)) == (250, 10, 10)
    assert drawn.getpixel((31, 32)) == (255, 255, 255)
    assert pixels(drawn)[64:].min() == 255


def test_beside_puts_the_first_left_and_the_second_right() -> None:
    drawn = canvas.compose([RED, BLUE], layout="beside", style="plain", caption=None)
    assert drawn.getpixel((63, 10)) == (250, 10, 10)
    assert drawn.getpixel((64, 10)) == (10, 10, 250)


def test_inset_covers_the_lower_right_quarter_of_the_main_slot() -> None:
    drawn = canvas.compose([RED, BLUE], layout="inset", style="plain", caption=None)
    assert drawn.getpixel((63, 31)) == (250, 10, 10)
    assert drawn.getpixel((64, 32)) == (10, 10, 250)
    assert drawn.getpixel((95, 63)) == (10, 10, 250)


def test_looks_differ_by_numbers() -> None:
    def middle(style: str) -> tuple[int, ...]:
        drawn = canvas.compose([RED], layout="alone", style=style, caption=None).getpixel((64, 32))
        assert isinstance(drawn, tuple)
        return tuple(int(value) for value in drawn)

    assert middle("night") == (89, 12, 36)
    assert middle("gray") == (82, 82, 82)
    framed = canvas.compose([BLUE], layout="alone", style="framed", caption=None)
    assert framed.getpixel((33, 32)) == (214, 24, 30)
    assert framed.getpixel((64, 32)) == (10, 10, 250)


def test_caption_is_black_in_the_strip_and_longer_text_is_smaller_but_stays_inside() -> None:
    heights: list[int] = []
    for caption in ("OSLO", "PORT MORESBY AND A LONG NAME"):
        strip = pixels(canvas.compose([RED], layout="alone", style="night", caption=caption))[64:]
        dark = strip.min(axis=2) < 100
        assert dark.any()
        assert not dark[:, 0].any()
        assert not dark[:, -1].any()
        assert not dark[0].any()
        heights.append(int(dark.any(axis=1).sum()))
    assert heights[0] >= 14
    assert strip[..., 0].min() < 100


def test_wrong_number_of_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="beside takes 2 pictures, got 1"):
        canvas.compose([RED], layout="beside", style="plain", caption=None)


def test_slot_boxes_are_fractions_of_the_whole_picture() -> None:
    assert canvas.slot_boxes("beside") == ((0.0, 0.0, 0.5, 2 / 3), (0.5, 0.0, 1.0, 2 / 3))
    assert canvas.slot_boxes("inset")[1] == (0.5, 1 / 3, 0.75, 2 / 3)


def test_canonical_wording_is_exactly_what_the_contract_says() -> None:
    assert canvas.wording(layout="alone", style="plain", caption="WARSAW") == (
        "the first reference image alone. caption: WARSAW"
    )
    assert canvas.wording(layout="beside", style="night", caption="WARSAW") == (
        "the first reference image beside the second, at night. caption: WARSAW"
    )
    assert canvas.wording(layout="inset", style="gray", caption=None) == (
        "the first reference image with the second as inset, in gray"
    )
    assert canvas.wording(layout="alone", style="framed", caption=None) == (
        "the first reference image alone, in a red frame"
    )


def test_every_layout_and_style_has_twenty_distinct_phrases_and_hundreds_of_wordings() -> None:
    for described in (*canvas.LAYOUTS.values(), *canvas.STYLES.values()):
        assert len(set(described.phrases)) == len(described.phrases) >= 20
    wordings = {canvas.wording(layout="beside", style="night", caption="X", variant=k) for k in range(400)}
    assert len(wordings) > 300


def test_no_wording_is_shared_by_two_layouts_or_two_styles() -> None:
    owner: dict[str, tuple[str, str]] = {}
    for layout in canvas.LAYOUTS:
        for style in canvas.STYLES:
            for variant in range(200):
                text = canvas.wording(layout=layout, style=style, caption=None, variant=variant)
                assert owner.setdefault(text, (layout, style)) == (layout, style), text


def test_caption_is_read_back_from_every_wording() -> None:
    for layout in canvas.LAYOUTS:
        for variant in range(100):
            text = canvas.wording(layout=layout, style="gray", caption="São Tomé 7", variant=variant)
            assert canvas.caption_in(text) == "São Tomé 7"


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("no strip at all", None),
        ('a "quoted" word and no clause', None),
        ('caption "open', None),
        ("alone, at night. caption: Port Moresby", "Port Moresby"),
        ("caption: .do", ".do"),
        ('caption: "PARIS" below', "PARIS"),
        ("caption:  ", None),
        ("caption of Paris", None),
        ('caption ""', None),
        ('caption "A" or rather "B"', "B"),
        ('"before" caption "after"', "after"),
        ("Caption “PARIS”", "PARIS"),
    ],
)
def test_caption_in_takes_the_last_quoted_text_after_the_word(prompt: str, caption: str | None) -> None:
    assert canvas.caption_in(prompt) == caption
