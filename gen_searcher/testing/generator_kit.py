"""Does an image model keep its contract? Sixteen cases, each a sentence, run on the built model.

report = await check_generator(model, capability)      # report.failed is empty for a model that conforms
"""

from __future__ import annotations

import asyncio
import pickle
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.engines.generator import Patience, StoredGenerator
from gen_searcher.errors import GeneratorError, GeneratorGone
from gen_searcher.image_store import MAX_SIDE_PX, ImageStore
from gen_searcher.protocols import BatchImageModel, ImageModel
from gen_searcher.types import Grounding, ImageRef, Reference

PROMPT = "The first picture in the middle, plain background."
BATCH_LEVELS = 2
"""Most that a colour of a batched picture may differ from that drawn alone, of 255: rounding, not another picture."""


class Broken(Exception):
    """A case failed; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one case."""

    case: str
    failure: str | None
    """None when the model conforms."""
    skipped: str | None = None
    """Why the case does not apply to this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of all cases."""

    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The cases that failed."""
        return tuple(verdict for verdict in self.verdicts if verdict.failure is not None)

    def text(self) -> str:
        """One line per case."""
        lines: list[str] = []
        for verdict in self.verdicts:
            word = "FAIL" if verdict.failure is not None else "skip" if verdict.skipped is not None else "ok"
            why = verdict.failure or verdict.skipped
            lines.append(f"{word:<5}{verdict.case}" + (f": {why}" if why else ""))
        passed = sum(verdict.failure is None and verdict.skipped is None for verdict in self.verdicts)
        return "\n".join([*lines, f"{passed} passed, {len(self.failed)} failed, of {len(self.verdicts)}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kit:
    model: ImageModel
    able: Capability

    def references(self, count: int) -> list[Image.Image]:
        hues = ("#c02020", "#2040c0", "#20a040", "#d0b020")
        pictures = [Image.new("RGB", (96, 96), hues[n % len(hues)]) for n in range(count)]
        for place, picture in enumerate(pictures):
            picture.paste(Image.linear_gradient("L").resize((48, 48)).convert("RGB"), (8 * (place % 5), 24))
        return pictures

    @property
    def few(self) -> list[Image.Image]:
        return self.references(1 if self.able.max_references is None else min(1, self.able.max_references))

    async def draw(self, prompt: str = PROMPT, *, seed: int = 1) -> Image.Image:
        return _picture(await self.model.draw(prompt, self.few, seed=seed))


class _Apart(Exception):
    """The case does not apply."""


def _picture(drawn: object) -> Image.Image:
    if not isinstance(drawn, Image.Image):
        raise Broken(f"draw returned {type(drawn).__name__}, not a PIL image")
    return drawn


def _same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and a.convert("RGB").tobytes() == b.convert("RGB").tobytes()


def _claim(*, holds: bool, failure: str) -> None:
    if not holds:
        raise Broken(failure)


async def _declares(kit: _Kit) -> None:
    able = kit.able
    _claim(holds=pickle.loads(pickle.dumps(able)) == able, failure="the capability does not survive pickling")
    is_batched = isinstance(kit.model, BatchImageModel)
    _claim(holds=able.batch == 1 or is_batched, failure=f"declares batches of {able.batch} and has no draw_batch")


async def _returns_a_picture(kit: _Kit) -> None:
    await kit.draw()


async def _is_rgb(kit: _Kit) -> None:
    drawn = await kit.draw()
    _claim(holds=drawn.mode == "RGB", failure=f"the picture's mode is {drawn.mode}")


async def _fits_the_store(kit: _Kit) -> None:
    drawn = await kit.draw()
    _claim(holds=min(drawn.size) >= 1 and max(drawn.size) <= MAX_SIDE_PX, failure=f"the picture has {drawn.size} px")


async def _has_a_declared_size(kit: _Kit) -> None:
    if not kit.able.sizes_px:
        raise _Apart("it declares no sizes")
    drawn = await kit.draw()
    _claim(holds=drawn.size in kit.able.sizes_px, failure=f"{drawn.size} is none of {kit.able.sizes_px}")


async def _repeats_itself(kit: _Kit) -> None:
    if not kit.able.takes_seed:
        raise _Apart("it takes no seed")
    _claim(holds=_same(await kit.draw(), await kit.draw()), failure="equal arguments gave two pictures")


async def _takes_large_seeds(kit: _Kit) -> None:
    await kit.draw(seed=2**31 - 1)
    await kit.draw(seed=0)


async def _takes_all_references(kit: _Kit) -> None:
    most = 4 if kit.able.max_references is None else kit.able.max_references
    _picture(await kit.model.draw(PROMPT, kit.references(most), seed=1))


async def _draws_without_references(kit: _Kit) -> None:
    """An answer may name no reference, and the baseline without a search never names one."""
    _picture(await kit.model.draw(PROMPT, [], seed=1))


async def _looks_at_references(kit: _Kit) -> None:
    if kit.able.max_references == 0:
        raise _Apart("it takes none")
    if not kit.able.takes_seed:
        raise _Apart("without a seed every picture differs")
    other = [Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 80).convert("RGB")]
    drawn = _picture(await kit.model.draw(PROMPT, other, seed=1))
    _claim(holds=not _same(await kit.draw(), drawn), failure="another reference gave the same picture")


async def _leaves_references_alone(kit: _Kit) -> None:
    shown = kit.few
    before = [(picture.size, picture.tobytes()) for picture in shown]
    await kit.model.draw(PROMPT, shown, seed=1)
    _claim(
        holds=[(picture.size, picture.tobytes()) for picture in shown] == before, failure="it changed its references"
    )


async def _takes_odd_references(kit: _Kit) -> None:
    if kit.able.max_references == 0:
        raise _Apart("it takes none")
    for size in ((96, 40), (33, 97), (512, 200)):
        _picture(await kit.model.draw(PROMPT, [Image.new("RGB", size, "#808080")], seed=1))


async def _takes_any_words(kit: _Kit) -> None:
    for prompt in ('A sign that says "Łódź 東京 🎨"', "line one\nline two\t{braces} <tags> %s"):
        await kit.draw(prompt)


async def _takes_long_prompts(kit: _Kit) -> None:
    await kit.draw(("word " * 400)[: kit.able.max_prompt_chars or 2000])


async def _draws_beside_itself(kit: _Kit) -> None:
    drawn = await asyncio.gather(*(kit.draw(f"{PROMPT} Number {n}.", seed=n) for n in range(3)))
    if kit.able.takes_seed:
        again = [await kit.draw(f"{PROMPT} Number {n}.", seed=n) for n in range(3)]
        mixed = [n for n in range(3) if not _same(drawn[n], again[n])]
        _claim(holds=not mixed, failure=f"drawn at once, pictures {mixed} are not those drawn alone")


async def _batches_like_one(kit: _Kit) -> None:
    if kit.able.batch == 1 or not isinstance(kit.model, BatchImageModel):
        raise _Apart("it draws one at a time")
    orders = [DrawOrder(id=f"o{n}", prompt=f"{PROMPT} {n}.", references=kit.few, seed=n) for n in range(kit.able.batch)]
    drawn = await kit.model.draw_batch(orders)
    _claim(holds=set(drawn) == {order.id for order in orders}, failure=f"ordered {len(orders)}, got {sorted(drawn)}")
    for order in orders:
        alone = await kit.model.draw(order.prompt, order.references, seed=order.seed)
        bands = ImageChops.difference(alone.convert("RGB"), drawn[order.id].convert("RGB")).getextrema()
        worst = max(int(str(band[1])) for band in bands if isinstance(band, tuple))
        _claim(holds=worst <= BATCH_LEVELS, failure=f"a batched picture differs by {worst} of 255")


async def _serves_the_loop(kit: _Kit) -> None:
    """Through the store, twice: the second comes from the cache; a missing reference is a typed failure."""
    with tempfile.TemporaryDirectory() as folder:
        store = ImageStore(Path(folder))
        generator = StoredGenerator(kit.model, store, capability=kit.able, patience=Patience(tries=1))
        grounding = _grounding([store.put(picture) for picture in kit.few])
        first, second = [await generator.generate(grounding, seed=5) for _ in range(2)]
        _claim(holds=first == second, failure="the cache gave another picture")
        if kit.able.max_references == 0:
            return
        gone = _grounding([ImageRef(sha256="0" * 64, width_px=1, height_px=1)])
        try:
            await generator.generate(gone, seed=5)
        except GeneratorError:
            return
        raise Broken("a reference that is not there was drawn")


def _grounding(images: Sequence[ImageRef]) -> Grounding:
    references = tuple(
        Reference(img_id=f"IMG_{n:03}", note="", title="", url="", page_url="", image=image)
        for n, image in enumerate(images, start=1)
    )
    return Grounding(gen_prompt=PROMPT, references=references)


CASES: tuple[tuple[str, Callable[[_Kit], Awaitable[None]]], ...] = (
    ("it declares a capability that it has the methods for", _declares),
    ("it returns a PIL image", _returns_a_picture),
    ("the picture is RGB", _is_rgb),
    (f"the picture's sides are 1 to {MAX_SIDE_PX} px", _fits_the_store),
    ("the picture has a declared size", _has_a_declared_size),
    ("equal arguments give equal pictures", _repeats_itself),
    ("it takes the seeds 0 and 2^31 - 1", _takes_large_seeds),
    ("it takes as many references as it declares", _takes_all_references),
    ("it draws without a reference", _draws_without_references),
    ("another reference gives another picture", _looks_at_references),
    ("it leaves its references as they were", _leaves_references_alone),
    ("it takes references of any shape", _takes_odd_references),
    ("it takes quotes, other scripts, line ends and braces", _takes_any_words),
    ("it takes prompts as long as it declares, or 2000 characters", _takes_long_prompts),
    ("it draws several requests at once without mixing them up", _draws_beside_itself),
    ("batched pictures are those drawn alone", _batches_like_one),
    ("it serves the training loop, cache and failures included", _serves_the_loop),
)
"""Every case: the sentence, and what proves it."""


async def check_generator(model: ImageModel, capability: Capability | None = None) -> Report:
    """Run every case; what the model raises fails the case that asked."""
    kit = _Kit(model=model, able=Capability() if capability is None else capability)
    verdicts: list[Verdict] = []
    for sentence, prove in CASES:
        failure = skipped = None
        try:
            await prove(kit)
        except _Apart as reason:
            skipped = str(reason)
        except Broken as error:
            failure = str(error)
        except GeneratorGone as error:
            failure = f"the model is gone: {error}"
        except Exception as error:  # noqa: BLE001 - a plug may raise anything, and all of it is a finding
            failure = f"{type(error).__name__}: {error}"
        verdicts.append(Verdict(case=sentence, failure=failure, skipped=skipped))
    return Report(verdicts=tuple(verdicts))
