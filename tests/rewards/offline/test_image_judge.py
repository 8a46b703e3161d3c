"""Four dimensions on drawings that are right, wrong, spoiled and made to fool."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gen_searcher.errors import JudgeError
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.types import Outcome, Task, Trajectory
from gen_searcher.world.canvas import STYLES, compose, with_caption

LOST = Trajectory(task_id="t", turns=(), outcome=Outcome.MALFORMED, grounding=None)


class CountingReader:
    """Reads what it is told to, and counts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.calls = 0

    def read(self, line: Image.Image) -> str:
        self.calls += 1
        return self.text


@pytest.fixture
def judge(world, store: ImageStore) -> OfflineImageJudge:
    return OfflineImageJudge(store=store, world=world, reader=CountingReader("WARSAW"))


def ideal(world, task: Task) -> Image.Image:
    facts = task.facts
    pictures = [world.picture(subject.entity) for subject in facts.subjects]
    return compose(pictures, layout=facts.layout, style=facts.style, caption=facts.caption)


def spoiled(image: Image.Image, seed: int = 0) -> Image.Image:
    """As a small denoiser would draw it: blurred, a little dark, noisy."""
    rng = np.random.default_rng(seed)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1.0)), dtype=np.float64)
    noisy = pixels * 0.9 + rng.normal(0.0, 12.0, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize(
    ("layout", "entities"),
    [("alone", ("flag-01",)), ("beside", ("flag-02", "ring-1")), ("inset", ("flag-03", "flag-04"))],
)
def test_the_ground_truth_scores_full_marks_in_every_layout_and_style(
    judge: OfflineImageJudge, world, make_task, layout: str, entities: tuple[str, ...], style: str
) -> None:
    task = make_task(*entities, layout=layout, style=style, caption="WARSAW")
    parts = judge.verdict(task, ideal(world, task)).parts
    assert parts["visual_correctness"] == 1.0
    assert parts["text_accuracy"] == 1.0
    assert parts["faithfulness"] == pytest.approx(1.0, abs=0.02)
    assert parts["aesthetics"] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("style", list(STYLES))
def test_a_drawing_that_is_blurred_and_noisy_is_still_right_but_less_beautiful(
    judge: OfflineImageJudge, world, make_task, style: str
) -> None:
    task = make_task("flag-05", "flag-06", layout="beside", style=style)
    parts = judge.verdict(task, spoiled(ideal(world, task))).parts
    assert parts["visual_correctness"] is not None
    assert parts["visual_correctness"] > 0.6
    assert parts["aesthetics"] is not None
    assert 0.3 < parts["aesthetics"] < 0.9


def test_the_wrong_flag_in_the_right_place_is_faithful_and_not_correct(
    judge: OfflineImageJudge, world, make_task
) -> None:
    task = make_task("flag-01")
    wrong = ideal(world, make_task("flag-07"))
    verdict = judge.verdict(task, wrong)
    assert verdict.parts["visual_correctness"] == 0.0
    assert verdict.parts["faithfulness"] == pytest.approx(1.0, abs=0.02)
    assert "looks most like Picture flag-07" in verdict.rationale


def test_one_wrong_subject_of_two_costs_half_of_the_correctness(judge: OfflineImageJudge, world, make_task) -> None:
    task = make_task("flag-01", "flag-02", layout="beside")
    half = ideal(world, make_task("flag-01", "flag-09", layout="beside"))
    assert judge.verdict(task, half).parts["visual_correctness"] == 0.5


def test_a_look_alike_is_correct(judge: OfflineImageJudge, world, make_task) -> None:
    verdict = judge.verdict(make_task("flag-00"), ideal(world, make_task("flag-12")))
    assert verdict.parts["visual_correctness"] == 1.0


@pytest.mark.parametrize("blur_px", [0, 2, 4, 8])
def test_noise_is_neither_faithful_nor_correct(judge: OfflineImageJudge, make_task, blur_px: int) -> None:
    rng = np.random.default_rng(blur_px)
    noise = Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).filter(
        ImageFilter.GaussianBlur(blur_px)
    )
    for layout, entities in (("alone", ("flag-01",)), ("beside", ("flag-02", "flag-03"))):
        parts = judge.verdict(make_task(*entities, layout=layout), noise).parts
        assert parts["visual_correctness"] == 0.0
        assert parts["faithfulness"] is not None
        assert parts["faithfulness"] < 0.25


@pytest.mark.parametrize("colour", ["white", "black", "red", "gray"])
def test_a_flat_picture_earns_nothing_for_correctness(judge: OfflineImageJudge, make_task, colour: str) -> None:
    parts = judge.verdict(make_task("flag-01"), Image.new("RGB", (128, 96), colour)).parts
    assert parts["visual_correctness"] == 0.0
    assert parts["faithfulness"] is not None
    assert parts["faithfulness"] < 0.3


@pytest.mark.parametrize(
    ("asked", "drawn"), [("night", "plain"), ("plain", "night"), ("gray", "plain"), ("framed", "plain")]
)
def test_the_wrong_style_halves_the_faithfulness(
    judge: OfflineImageJudge, world, make_task, asked: str, drawn: str
) -> None:
    task = make_task("flag-01", "flag-08", layout="beside", style=asked)
    faithfulness = judge.verdict(
        task, ideal(world, make_task("flag-01", "flag-08", layout="beside", style=drawn))
    ).parts["faithfulness"]
    assert faithfulness is not None
    assert faithfulness <= 0.55


def test_the_wrong_layout_is_not_faithful(judge: OfflineImageJudge, world, make_task) -> None:
    task = make_task("flag-01", "flag-02", layout="beside")
    parts = judge.verdict(task, ideal(world, make_task("flag-01"))).parts
    assert parts["visual_correctness"] is not None
    assert parts["visual_correctness"] < 0.5
    assert parts["faithfulness"] is not None
    assert parts["faithfulness"] < 0.5


def test_without_a_wanted_caption_text_does_not_apply_and_an_unwanted_one_halves_the_faithfulness(
    judge: OfflineImageJudge, world, make_task
) -> None:
    task = make_task("flag-01")
    clean = judge.verdict(task, ideal(world, task))
    scribbled = judge.verdict(task, with_caption(ideal(world, task).crop((0, 0, 128, 64)), "WARSAW"))
    assert clean.parts["text_accuracy"] is None
    assert scribbled.parts["text_accuracy"] is None
    assert clean.score == pytest.approx(0.8, abs=0.01)
    assert scribbled.score == pytest.approx(0.75, abs=0.01)


def test_a_wrong_or_missing_caption_scores_no_text(world, store: ImageStore, make_task) -> None:
    judge = OfflineImageJudge(store=store, world=world, reader=CountingReader("MOSCOW"))
    task = make_task("flag-01", caption="WARSAW")
    assert judge.verdict(task, ideal(world, task)).parts["text_accuracy"] == 0.0
    assert judge.verdict(task, ideal(world, make_task("flag-01"))).parts["text_accuracy"] == 0.0


def test_a_larger_picture_is_judged_like_a_small_one(judge: OfflineImageJudge, world, make_task) -> None:
    task = make_task("flag-01", caption="WARSAW")
    large = ideal(world, task).resize((512, 384), Image.Resampling.BICUBIC)
    parts = judge.verdict(task, large).parts
    assert parts["visual_correctness"] == 1.0
    assert parts["faithfulness"] == pytest.approx(1.0, abs=0.02)


async def test_the_same_picture_of_the_same_task_is_judged_once(world, store: ImageStore, make_task) -> None:
    reader = CountingReader("WARSAW")
    judge = OfflineImageJudge(store=store, world=world, reader=reader)
    task = make_task("flag-01", caption="WARSAW")
    ref = store.put(ideal(world, task))
    first = await judge.judge(task, LOST, ref)
    calls = reader.calls
    second = await judge.judge(task, LOST, ref)
    assert reader.calls == calls
    assert second.parts == first.parts
    assert second.latency_s == 0.0


async def test_what_cannot_be_judged_raises(judge: OfflineImageJudge, store: ImageStore, make_task) -> None:
    ref = store.put(Image.new("RGB", (128, 96)))
    outside = Task(id="o", prompt="p", target=None, meta={})
    with pytest.raises(JudgeError, match="vision-language model"):
        await judge.judge(outside, LOST, ref)
    with pytest.raises(ValueError, match="no picture"):
        await judge.judge(make_task("flag-01"), LOST, None)
    gone = type(ref)(sha256="0" * 64, width_px=128, height_px=96)
    with pytest.raises(JudgeError, match="not in the store"):
        await judge.judge(make_task("flag-01"), LOST, gone)


def test_a_card_without_subjects_wants_an_empty_art_area_and_its_caption(judge: OfflineImageJudge, make_task) -> None:
    task = make_task(layout="card", style="plain", caption="WARSAW")
    card = compose((), layout="card", style="plain", caption="WARSAW")
    full = judge.verdict(task, card).parts
    assert full == {"faithfulness": 1.0, "visual_correctness": 1.0, "text_accuracy": 1.0, "aesthetics": 1.0}
    dark = judge.verdict(task, with_caption(Image.new("RGB", (128, 64), "navy"), "WARSAW")).parts
    assert (dark["faithfulness"], dark["visual_correctness"], dark["text_accuracy"]) == (0.0, 0.0, 1.0)
