"""Drawings that wait together are drawn together, and each caller gets its own."""

# pyright: reportPrivateImportUsage=false
# Reason: diffusers ships partial annotations.

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.engines.batching import Batcher
from gen_searcher.engines.diffusers_model import DiffusersModel, load_pipeline, paint
from gen_searcher.engines.diffusion_library import Flux2KleinPipeline
from gen_searcher.errors import GeneratorError
from tests.engines.tiny_klein import KLEIN_EXTRA, tiny_klein


class Numbers:
    """A batch model whose pictures carry their seed; a prompt with `bomb` fails the whole batch."""

    def __init__(self, *, swaps: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.swaps = swaps

    def batch_shape(self, order: DrawOrder) -> str:
        return str(len(order.references))

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        raise AssertionError("a batcher never draws one by one")

    async def draw_batch(self, orders: Sequence[DrawOrder]) -> Mapping[str, Image.Image]:
        self.batches.append([order.prompt for order in orders])
        await asyncio.sleep(0)
        if any("bomb" in order.prompt for order in orders):
            raise RuntimeError("boom")
        ids = [f"not {order.id}" if self.swaps else order.id for order in orders]
        return {i: Image.new("RGB", (1, 1), (o.seed, 0, 0)) for i, o in zip(ids, orders, strict=True)}


def red(image: Image.Image) -> int:
    return np.asarray(image)[0, 0, 0]


async def test_what_is_ready_together_is_one_batch_and_each_gets_its_own_picture() -> None:
    model = Numbers()
    batcher = Batcher(model, most=4)
    drawn = await asyncio.gather(*(batcher.draw(f"p{seed}", [], seed=seed) for seed in range(6)))
    assert [red(picture) for picture in drawn] == [0, 1, 2, 3, 4, 5]
    assert [len(batch) for batch in model.batches] == [4, 2]


async def test_only_equal_shapes_share_a_batch_and_the_oldest_goes_first() -> None:
    model = Numbers()
    batcher = Batcher(model, most=4)
    one = Image.new("RGB", (2, 2))
    await asyncio.gather(*(batcher.draw(f"p{n}", [one] * (n % 2), seed=n) for n in range(4)))
    assert model.batches == [["p0", "p2"], ["p1", "p3"]]


async def test_an_order_that_fails_spoils_no_other() -> None:
    batcher = Batcher(Numbers(), most=3)
    drawn = await asyncio.gather(
        *(batcher.draw(prompt, [], seed=n) for n, prompt in enumerate(("a", "bomb", "c"))), return_exceptions=True
    )
    assert isinstance(drawn[1], RuntimeError)
    assert [red(picture) for picture in (drawn[0], drawn[2]) if isinstance(picture, Image.Image)] == [0, 2]


async def test_pictures_under_foreign_names_reach_nobody() -> None:
    drawn = await asyncio.gather(
        *(Batcher(Numbers(swaps=True), most=2).draw("p", [], seed=n) for n in range(2)), return_exceptions=True
    )
    assert all(isinstance(error, GeneratorError) and "came back without" in str(error) for error in drawn)


async def test_a_caller_that_gave_up_is_not_drawn_for() -> None:
    model = Numbers()
    batcher = Batcher(model, most=1)
    first, second, third = (asyncio.create_task(batcher.draw(f"p{n}", [], seed=n)) for n in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)
    assert model.batches == [["p0"], ["p2"]]


@pytest.fixture(scope="module")
def klein_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_klein(tmp_path_factory.mktemp("klein"))


@pytest.fixture(scope="module")
def klein(klein_folder: Path) -> DiffusersModel:
    return klein_model(klein_folder)


def klein_model(folder: Path) -> DiffusersModel:
    return DiffusersModel(
        pipeline="Flux2KleinPipeline",
        path=str(folder),
        size_px=(64, 64),
        steps=2,
        dtype="float32",
        reference_size_px=(64, 64),
        threads=1,
        batch=4,
        extra=KLEIN_EXTRA,
    )


def orders(*, references: int) -> list[DrawOrder]:
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (70, 70, 3), dtype=np.uint8)) for _ in range(4 + references)]
    return [
        DrawOrder(id=f"n{n}", prompt=f"picture {n}", references=noise[n : n + references], seed=n) for n in range(4)
    ]


def levels(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


@pytest.mark.parametrize("references", [0, 1, 2])
async def test_a_batched_picture_is_the_one_drawn_alone_to_one_level_of_colour(
    klein: DiffusersModel, references: int
) -> None:
    """Not to the last bit: float32 products sum in another order for another batch size (measured: 1 of 255)."""
    wanted = orders(references=references)
    together = await klein.draw_batch(wanted)
    alone = {order.id: await klein.draw(order.prompt, order.references, seed=order.seed) for order in wanted}
    assert max(levels(together[name], alone[name]) for name in alone) <= 1
    assert min(levels(alone["n0"], alone[name]) for name in ("n1", "n2", "n3")) > 20  # the comparison could fail


async def test_a_batch_gives_the_same_bits_whoever_else_is_in_it(klein: DiffusersModel) -> None:
    first, second, third, fourth = orders(references=2)
    whole = await klein.draw_batch([first, second, third, fourth])
    other = await klein.draw_batch([fourth, third, first, second])
    assert {name: picture.tobytes() for name, picture in whole.items()} == {
        name: picture.tobytes() for name, picture in other.items()
    }


async def test_a_batch_of_one_is_the_picture_drawn_alone_bit_for_bit(klein: DiffusersModel) -> None:
    order = orders(references=2)[3]
    alone = await klein.draw(order.prompt, order.references, seed=order.seed)
    assert (await klein.draw_batch([order]))[order.id].tobytes() == alone.tobytes()


@pytest.mark.parametrize("references", [1, 2])
async def test_references_from_memory_leave_every_bit_of_a_picture_where_it_was(
    klein: DiffusersModel, klein_folder: Path, references: int
) -> None:
    """Against a pipeline that nobody touched."""
    stock = load_pipeline("Flux2KleinPipeline", str(klein_folder), dtype="float32", device="cpu")
    order = orders(references=references)[1]
    plain = paint(stock, klein.call, prompt=order.prompt, references=order.references, seed=order.seed)
    for _ in range(2):  # the second time every reference comes from memory
        again = await klein.draw(order.prompt, order.references, seed=order.seed)
        assert again.tobytes() == plain.tobytes()


async def test_a_reference_is_encoded_once(klein_folder: Path) -> None:
    model = klein_model(klein_folder)
    vae = cast("Flux2KleinPipeline", model.pipeline).vae
    encode, encoded = vae.encode, list[int]()

    def counting(image: torch.Tensor) -> object:
        encoded.append(len(image))
        return encode(image)

    vae.encode = counting
    shared = orders(references=2)[0].references
    wanted = [DrawOrder(id=str(n), prompt=f"p{n}", references=shared[:: 1 - 2 * (n % 2)], seed=n) for n in range(3)]
    first, second = [await model.draw_batch(wanted) for _ in range(2)]
    assert [first[name].tobytes() for name in first] == [second[name].tobytes() for name in second]
    assert len({picture.tobytes() for picture in first.values()}) == 3
    assert encoded == [1, 1, 1, 1]  # two for where the tokens of a pair lie, then each picture; then no more


def test_shapes_differ_by_number_of_references_only(klein: DiffusersModel) -> None:
    assert len({klein.batch_shape(order) for order in orders(references=2)}) == 1
    assert klein.batch_shape(orders(references=1)[0]) != klein.batch_shape(orders(references=2)[0])


def test_a_diffusers_model_declares_what_its_keywords_say() -> None:
    declared = DiffusersModel.declare({"size_px": (64, 32), "max_references": 2, "batch": 4, "path": "a", "threads": 1})
    assert declared == Capability(
        max_references=2, sizes_px=((64, 32),), batch=4, revision="max_references=2|path=a|size_px=(64, 32)"
    )
