"""The model without a network: what it draws is the exact picture, as far as the words and references go."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops

from gen_searcher.config import load
from gen_searcher.engines.compositor import Compositor
from gen_searcher.testing.generator_kit import check_generator
from gen_searcher.world import canvas

RED, BLUE = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))


@pytest.mark.parametrize("style", sorted(canvas.STYLES))
@pytest.mark.parametrize("layout", sorted(canvas.LAYOUTS))
async def test_words_that_ask_for_a_picture_give_exactly_that_picture(layout: str, style: str) -> None:
    pictures = [RED, BLUE][: len(canvas.LAYOUTS[layout].slots)]
    expected = canvas.compose(pictures, layout=layout, style=style, caption="WARSAW")
    words = canvas.wording(layout=layout, style=style, caption="WARSAW")
    drawn = await Compositor().draw(words, pictures, seed=1)
    assert ImageChops.difference(drawn, expected).getbbox() is None


async def test_a_place_without_a_reference_stays_white_and_no_reference_is_a_card() -> None:
    words = canvas.wording(layout="beside", style="plain", caption=None)
    drawn = await Compositor().draw(words, [RED], seed=0)
    assert [drawn.getpixel((x, 32)) for x in (32, 96)] == [(255, 0, 0), (255, 255, 255)]
    card = await Compositor().draw("nothing that it knows", [], seed=0)
    assert card.getextrema() == ((255, 255),) * 3


async def test_words_that_name_no_arrangement_give_the_one_that_fits_the_references() -> None:
    drawn = await Compositor().draw("something odd", [RED, BLUE], seed=0)
    expected = canvas.compose([RED, BLUE], layout="beside", style="plain", caption=None)
    assert ImageChops.difference(drawn, expected).getbbox() is None


async def test_it_keeps_the_contract_of_an_image_model() -> None:
    plug = load.load(["experiment=laptop", "generator=compositor"]).generator
    report = await check_generator(Compositor(), Compositor.declare(plug.keywords))
    assert not report.failed, report.failed
