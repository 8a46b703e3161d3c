from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen_searcher.engines.painter import EmbeddedPainter, shipped_folder
from gen_searcher.engines.painter_heldout import psnr_db
from gen_searcher.engines.painter_pictures import Named, split
from gen_searcher.world import canvas
from gen_searcher.world.world import World


@pytest.fixture(scope="module")
def painter() -> EmbeddedPainter:
    return EmbeddedPainter(threads=1)


@pytest.fixture(scope="module")
def unseen() -> dict[str, list[Image.Image]]:
    world = World.load()
    pictures = [Named(name=e.name, family=e.kind, image=world.picture(e.id)) for e in world.entities.values()]
    families: dict[str, list[Image.Image]] = {}
    for picture in split(pictures)[1]:
        families.setdefault(picture.family, []).append(picture.image)
    return families


def truth(images: list[Image.Image], *, layout: str, style: str, caption: str | None = None) -> Image.Image:
    return canvas.compose(images, layout=layout, style=style, caption=caption)


def art(picture: Image.Image) -> Image.Image:
    return picture.crop((0, 0, *canvas.ART_PX))


async def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(
    painter: EmbeddedPainter, unseen: dict[str, list[Image.Image]]
) -> None:
    prompt = canvas.wording(layout="alone", style="plain", caption=None)
    flag = unseen["flag"][0]
    first, again, other = [await painter.draw(prompt, [flag], seed=seed) for seed in (1, 1, 2)]
    assert first.size == canvas.SIZE_PX
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize("family", ["concept", "constellation", "element", "flag"])
@pytest.mark.parametrize("layout", ["alone", "beside"])
async def test_an_unseen_picture_is_drawn_from_the_right_reference_only(
    painter: EmbeddedPainter, unseen: dict[str, list[Image.Image]], family: str, layout: str
) -> None:
    right, second, wrong = unseen[family][:3]
    count = len(canvas.LAYOUTS[layout].slots)
    prompt = canvas.wording(layout=layout, style="plain", caption=None)
    wanted = art(truth([right, second][:count], layout=layout, style="plain"))
    good = art(await painter.draw(prompt, [right, second][:count], seed=0))
    bad = art(await painter.draw(prompt, [wrong, second][:count], seed=0))
    assert psnr_db(good, wanted) > 18
    assert psnr_db(good, wanted) > psnr_db(bad, wanted) + 4


async def test_the_looks_are_read_from_the_words(
    painter: EmbeddedPainter, unseen: dict[str, list[Image.Image]]
) -> None:
    flag = unseen["flag"][1]
    for style in canvas.STYLES:
        drawn = art(await painter.draw(canvas.wording(layout="alone", style=style, caption=None), [flag], seed=0))
        fits = {name: psnr_db(drawn, art(truth([flag], layout="alone", style=name))) for name in canvas.STYLES}
        assert max(fits, key=lambda name: fits[name]) == style, fits


async def test_the_caption_is_set_exactly_and_leaves_the_art_alone(
    painter: EmbeddedPainter, unseen: dict[str, list[Image.Image]]
) -> None:
    flag = unseen["flag"][0]
    plain = await painter.draw(canvas.wording(layout="alone", style="plain", caption=None), [flag], seed=0)
    named = await painter.draw(canvas.wording(layout="alone", style="plain", caption="OSLO"), [flag], seed=0)
    strip = (0, canvas.ART_PX[1], *canvas.SIZE_PX)
    assert (
        named.crop(strip).tobytes()
        == truth([flag], layout="alone", style="plain", caption="OSLO").crop(strip).tobytes()
    )
    assert np.asarray(plain.crop(strip)).min() == 255
    assert psnr_db(art(named), art(plain)) > 20


async def test_without_a_reference_no_picture_of_the_world_appears(
    painter: EmbeddedPainter, unseen: dict[str, list[Image.Image]]
) -> None:
    prompt = canvas.wording(layout="alone", style="plain", caption=None)
    drawn = art(await painter.draw(prompt, [], seed=0))
    for images in unseen.values():
        assert max(psnr_db(drawn, art(truth([image], layout="alone", style="plain"))) for image in images[:20]) < 16


async def test_a_third_reference_is_accepted_and_not_looked_at(
    painter: EmbeddedPainter, unseen: dict[str, list[Image.Image]]
) -> None:
    a, b, c = unseen["concept"][:3]
    prompt = canvas.wording(layout="beside", style="plain", caption=None)
    two, three = await painter.draw(prompt, [a, b], seed=0), await painter.draw(prompt, [a, b, c], seed=0)
    assert two.tobytes() == three.tobytes()


def test_the_shipped_weights_are_small_safetensors_with_their_held_out_table() -> None:
    files = [path for path in Path(shipped_folder()).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12_000_000
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pkl"}]
    table = json.loads((Path(shipped_folder()) / "heldout.json").read_text())
    assert table["mean"]["right_db"] > table["mean"]["wrong_db"] + 6
    assert {(row["layout"], row["style"]) for row in table["rows"]} == {
        (layout, style) for layout in canvas.LAYOUTS for style in canvas.STYLES
    }
