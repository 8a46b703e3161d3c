"""Every diffusers family that ships as a file draws: from its own YAML, with tiny weights in place of the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from gen_searcher.config import load
from gen_searcher.config.capability import plug_capability
from gen_searcher.drawing import DrawOrder
from gen_searcher.engines.diffusers_model import DiffusersModel, _sized
from gen_searcher.testing.generator_kit import check_generator
from tests.engines.tiny_klein import KLEIN_EXTRA
from tests.engines.tiny_pipelines import FAMILIES

SIZE_PX = (32, 16)
EXTRA: Mapping[str, Mapping[str, object]] = {
    "flux2_klein": KLEIN_EXTRA,
    "flux2_dev": {"text_encoder_out_layers": [1, 2], "max_sequence_length": 512},
    "flux_kontext": {"max_area": 32 * 16, "_auto_resize": False, "max_sequence_length": 32},
    "qwen_image": {"negative_prompt": " ", "max_sequence_length": 512},
    "sd35": {"max_sequence_length": 32},
    "z_image": {"max_sequence_length": 64},
}


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def levels(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> DiffusersModel:
    plug = load.load([f"generator={family}"]).generator
    keywords = dict(plug.keywords)
    tiny = {"path": str(FAMILIES[family](tmp_path_factory.mktemp(family))), "size_px": SIZE_PX, "device": "cpu"}
    small: dict[str, object] = {"steps": 2, "dtype": "float32", "threads": 1, "extra": EXTRA[family]}
    return cast("DiffusersModel", plug.model_copy(update={"keywords": {**keywords, **tiny, **small}}).build())


@pytest.mark.slow
async def test_the_conformance_kit_passes(family: str, model: DiffusersModel) -> None:
    able = plug_capability(load.load([f"generator={family}"]).generator)
    report = await check_generator(model, replace(able, sizes_px=(SIZE_PX,)))
    assert not report.failed, report.text()


async def test_other_words_and_other_seeds_give_other_pictures(model: DiffusersModel) -> None:
    first, seeded, worded = [
        await model.draw(prompt, [], seed=seed) for prompt, seed in (("a", 1), ("a", 2), ("the flag", 1))
    ]
    assert first.size == SIZE_PX
    assert levels(first, seeded) > 10
    assert first.tobytes() != worded.tobytes()


async def test_as_many_references_are_seen_as_the_file_declares(family: str, model: DiffusersModel) -> None:
    most = plug_capability(load.load([f"generator={family}"]).generator).max_references
    assert most is not None
    shown = [noise(n) for n in range(most + 1)]
    full = await model.draw("a", shown[:most], seed=1)
    assert (await model.draw("a", shown, seed=1)).tobytes() == full.tobytes()  # one more than it takes is cut off
    if most:
        assert (await model.draw("a", [*shown[: most - 1], noise(99)], seed=1)).tobytes() != full.tobytes()


@pytest.mark.parametrize("size", [(20, 40), (33, 400), (64, 64)])
def test_references_are_widened_and_enlarged_as_far_as_pipelines_demand(size: tuple[int, int]) -> None:
    shown = _sized(Image.new("RGB", size, "red"), None)
    assert shown.size == {(20, 40): (64, 128), (33, 400): (64, 512), (64, 64): (64, 64)}[size]
    assert shown.getpixel((shown.width // 2, shown.height // 2)) == (255, 0, 0)
    assert shown.getpixel((0, 0)) == ((0, 0, 0) if size == (33, 400) else (255, 0, 0))


async def test_a_batch_is_the_pictures_drawn_alone_to_one_level_of_colour(family: str, model: DiffusersModel) -> None:
    able = plug_capability(load.load([f"generator={family}"]).generator)
    if able.batch == 1:
        pytest.skip("draws one at a time")
    shown = [noise(1)] if able.max_references else []
    prompts = ("a flag", "the flag of a country far away", "x")
    orders = [DrawOrder(id=p, prompt=p, references=shown, seed=n) for n, p in enumerate(prompts)]
    together = await model.draw_batch(orders)
    for order in orders:
        alone = await model.draw(order.prompt, order.references, seed=order.seed)
        assert levels(together[order.id], alone) <= 1
