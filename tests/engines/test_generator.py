from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from gen_searcher.drawing import Capability
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import (
    GeneratorError,
    GeneratorGone,
    GeneratorInvalid,
    GeneratorOverloaded,
    GeneratorRefused,
    GeneratorUnavailable,
)
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.types import Grounding, ImageRef, Reference


class SolidColour:
    """A whole plug-in generator: the picture is the last word of the prompt, as a colour."""

    def __init__(self, *, size_px: int = 32) -> None:
        self.size_px = size_px

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        return Image.new("RGB", (self.size_px, self.size_px), ImageColor.getrgb(prompt.split()[-1]))


class Slow:
    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go = asyncio.Event()
        self.calls = 0

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        self.calls += 1
        self.started.set()
        await self.go.wait()
        return Image.new("RGB", (8, 8))


class Wordy:
    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> str:
        return "a picture, honestly"


def grounding(prompt: str, *images: ImageRef) -> Grounding:
    return Grounding(
        gen_prompt=prompt,
        references=tuple(
            Reference(img_id=f"IMG_{n:03}", note="", title="", url="", page_url="", image=image)
            for n, image in enumerate(images, 1)
        ),
    )


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path)


async def test_a_plug_in_of_ten_lines_draws_into_the_store(store: ImageStore) -> None:
    drawn = await StoredGenerator(SolidColour(), store).generate(grounding("paint it #102030"), seed=0)
    assert (drawn.width_px, drawn.height_px) == (32, 32)
    assert store.get(drawn).getpixel((5, 5)) == (16, 32, 48)


async def test_references_reach_the_model_in_their_order(store: ImageStore) -> None:
    red, blue = (store.put(Image.new("RGB", (9, 9), colour)) for colour in ("#ff0000", "#0000ff"))
    drawn = store.get(await StoredGenerator(FakeImageModel(), store).generate(grounding("x", blue, red), seed=0))
    assert drawn.getpixel((10, 10)) == (0, 0, 255)
    assert drawn.getpixel((74, 10)) == (255, 0, 0)


async def test_what_the_model_raises_becomes_a_generator_error_with_its_cause(store: ImageStore) -> None:
    generator = StoredGenerator(FakeImageModel(fails_on="bomb"), store)
    with pytest.raises(GeneratorError, match="FakeImageModel raised RuntimeError: fake failure") as caught:
        await generator.generate(grounding("a bomb"), seed=0)
    assert caught.value.stage == "generate"
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_a_missing_reference_is_the_worlds_failure(store: ImageStore) -> None:
    gone = ImageRef(sha256="0" * 64, width_px=1, height_px=1)
    with pytest.raises(GeneratorError, match="cannot be read"):
        await StoredGenerator(FakeImageModel(), store).generate(grounding("x", gone), seed=0)


async def test_a_model_that_returns_no_picture_is_named(store: ImageStore) -> None:
    with pytest.raises(GeneratorError, match="Wordy returned str, not a PIL image"):
        await StoredGenerator(Wordy(), store).generate(grounding("x"), seed=0)  # type: ignore[arg-type]


async def test_the_same_order_is_drawn_once_and_another_seed_again(store: ImageStore) -> None:
    model = FakeImageModel()
    generator = StoredGenerator(model, store)
    refs = [await generator.generate(grounding("x"), seed=seed) for seed in (1, 1, 2, 1)]
    assert len(model.calls) == 2
    assert refs[0] == refs[1] == refs[3] != refs[2]


async def test_the_same_order_at_the_same_time_is_drawn_once(store: ImageStore) -> None:
    model = Slow()
    generator = StoredGenerator(model, store)
    both = asyncio.gather(generator.generate(grounding("x"), seed=1), generator.generate(grounding("x"), seed=1))
    await model.started.wait()
    model.go.set()
    first, second = await both
    assert first == second
    assert model.calls == 1


async def test_memory_is_bounded_and_failures_are_tried_again(store: ImageStore) -> None:
    model = FakeImageModel(fails_on="bomb")
    generator = StoredGenerator(model, store, remembered=1)
    for prompt in ("a", "b", "a"):
        await generator.generate(grounding(prompt), seed=0)
    for _ in range(2):
        with pytest.raises(GeneratorError):
            await generator.generate(grounding("bomb"), seed=0)
    assert [prompt for prompt, *_ in model.calls] == ["a", "b", "a", "bomb", "bomb"]


class Says:
    """Raises what it is given, in turn, then draws."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return Image.new("RGB", (8, 8))


class Clock:
    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.waits_s.append(seconds)


async def test_what_passes_is_waited_for_as_long_as_the_model_says(store: ImageStore) -> None:
    model, clock = Says(GeneratorOverloaded("busy", retry_after_s=7.0), GeneratorUnavailable("503")), Clock()
    await StoredGenerator(model, store, pause=clock.pause).generate(grounding("x"), seed=0)
    assert clock.waits_s == [7.0, 2.0]
    assert model.calls == 3


async def test_patience_ends_and_no_wait_is_longer_than_allowed(store: ImageStore) -> None:
    model, clock = Says(*(GeneratorOverloaded("busy", retry_after_s=1e6) for _ in range(9))), Clock()
    with pytest.raises(GeneratorOverloaded):
        await StoredGenerator(model, store, pause=clock.pause).generate(grounding("x"), seed=0)
    assert clock.waits_s == [60.0, 60.0]


@pytest.mark.parametrize(
    "error", [GeneratorRefused("violence"), GeneratorInvalid("too long"), GeneratorGone("retired")]
)
async def test_what_stays_is_raised_at_once(store: ImageStore, error: Exception) -> None:
    model, clock = Says(error), Clock()
    with pytest.raises(type(error)):
        await StoredGenerator(model, store, pause=clock.pause).generate(grounding("x"), seed=0)
    assert (model.calls, clock.waits_s) == (1, [])


async def test_references_beyond_the_capability_are_cut_and_equal_what_is_left(
    store: ImageStore, caplog: pytest.LogCaptureFixture
) -> None:
    red, blue = (store.put(Image.new("RGB", (9, 9), colour)) for colour in ("#ff0000", "#0000ff"))
    model = FakeImageModel()
    generator = StoredGenerator(model, store, capability=Capability(max_references=1))
    assert await generator.generate(grounding("x", red, blue), seed=0) == await generator.generate(
        grounding("x", red), seed=0
    )
    assert [count for _, count, _ in model.calls] == [1]
    assert "FakeImageModel is shown 1 of 2 references" in caplog.text


async def test_a_prompt_that_is_too_long_or_a_picture_of_a_wrong_size_is_an_error(store: ImageStore) -> None:
    with pytest.raises(GeneratorInvalid, match="takes 3 characters; the prompt has 4"):
        await StoredGenerator(Says(), store, capability=Capability(max_prompt_chars=3)).generate(
            grounding("long"), seed=0
        )
    with pytest.raises(GeneratorError, match="returned 8x8 px; it declares"):
        await StoredGenerator(Says(), store, capability=Capability(sizes_px=((16, 16),))).generate(
            grounding("x"), seed=0
        )


def test_the_errors_survive_the_way_between_actors() -> None:
    overloaded = pickle.loads(pickle.dumps(GeneratorOverloaded("busy", retry_after_s=3.0)))
    assert (overloaded.message, overloaded.stage, overloaded.retry_after_s) == ("busy", "generate", 3.0)
    gone = pickle.loads(pickle.dumps(GeneratorGone("retired")))
    assert (str(gone), gone.exit_code) == ("retired", 3)
