"""Several pictures of one grounding: the mean of their verdicts is the score, and their variance is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL.Image import Image
from pydantic import TypeAdapter

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.drawing import Capability, DrawnHow
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import GeneratorRefused, JudgeError
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.groups import step_metrics
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.train.attempt import GroupRules, run_attempt
from gen_searcher.train.sampled import mean_judgement, sample_seeds
from gen_searcher.train.useful import Stages, UsefulGroups
from gen_searcher.types import (
    Attempt,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    StepReport,
    Task,
    Trajectory,
)

TASK = Task(id="t1", prompt="draw", target=None, meta={})


class Writes:
    async def search(self, task: Task, *, seed: int) -> Trajectory:
        grounding = Grounding(gen_prompt=f"a flag {seed % 2}", references=())
        return Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)


class Scores:
    """Gives its scores in turn, to whatever it is shown, and remembers what that was."""

    def __init__(self, name: str, scores: Sequence[float]) -> None:
        self.name = name
        self.scores = list(scores)
        self.shown: list[ImageRef | None] = []

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        self.shown.append(image)
        return verdict(self.name, self.scores[len(self.shown) - 1])


def verdict(name: str, score: float, *, text: float | None = None) -> Judgement:
    return Judgement(
        judge=name, score=score, parts={"text_accuracy": text}, rationale="seen", model="m", prompt_sha256="",
        latency_s=score, cost_usd=0.5,
    )  # fmt: skip


async def attempt(tmp_path: Path, *, samples: int, looks: Scores, reads: Scores, model: FakeImageModel) -> Attempt:
    return await run_attempt(
        TASK,
        seed=7,
        searcher=Writes(),
        generator=StoredGenerator(model, ImageStore(tmp_path)),
        judges=[looks, reads],
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
        capability=Capability(usd_per_picture=0.25),
        samples=samples,
    )


async def test_the_mean_over_the_pictures_is_the_score_and_the_text_is_read_once(tmp_path: Path) -> None:
    looks, reads, model = Scores("image", [0.25, 0.5, 1.0]), Scores("text", [1.0]), FakeImageModel()
    made = await attempt(tmp_path, samples=3, looks=looks, reads=reads, model=model)
    image, text = made.judgements
    assert image.score == pytest.approx(1.75 / 3)
    assert image.variance == pytest.approx(0.145833333)
    assert text.variance is None
    assert made.reward.total == pytest.approx(0.5 * 1.75 / 3 + 0.5)
    assert (image.cost_usd, image.latency_s, text.cost_usd) == (1.5, 1.0, 0.5)
    assert image.rationale == "mean of 3 pictures (0.25, 0.5, 1); of the first: seen"
    assert looks.shown == [made.image, *made.more_images]
    assert len({one.sha256 for one in looks.shown if one}) == 3
    assert made.drawing is not None
    assert made.drawing.cost_usd == 0.75


async def test_one_picture_is_what_it_always_was(tmp_path: Path) -> None:
    model = FakeImageModel()
    made = await attempt(tmp_path, samples=1, looks=Scores("image", [0.5]), reads=Scores("text", [0.5]), model=model)
    assert [seed for *_, seed in model.calls] == [7]
    assert (made.more_images, made.judgements[0]) == ((), verdict("image", 0.5))


def test_the_seeds_of_further_pictures_depend_on_the_first_alone() -> None:
    assert sample_seeds(7, count=3)[:2] == sample_seeds(7, count=2)
    assert sample_seeds(7, count=1) == (7,)
    assert len({*sample_seeds(7, count=4), *sample_seeds(8, count=4)}) == 8


def test_a_part_is_averaged_over_the_pictures_that_it_applies_to() -> None:
    mean = mean_judgement([verdict("image", 0.0, text=0.5), verdict("image", 0.5), verdict("image", 1.0, text=1.0)])
    assert mean.parts == {"text_accuracy": 0.75}
    assert mean_judgement([verdict("image", 0.0), verdict("image", 1.0)]).parts == {"text_accuracy": None}


def test_the_reply_is_that_about_the_first_picture() -> None:
    first, second = (replace(verdict("image", score), reply=f"said of {score}") for score in (0.0, 1.0))
    assert mean_judgement([first, second]).reply == "said of 0.0"


def test_a_score_off_the_scale_is_not_hidden_by_a_mean() -> None:
    with pytest.raises(JudgeError, match=r"gave 1\.5"):
        mean_judgement([verdict("image", 0.25), verdict("image", 1.5)])


async def test_one_refused_picture_speaks_for_its_grounding(tmp_path: Path) -> None:
    class RefusesOneSeed(FakeImageModel):
        async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
            if seed == sample_seeds(7, count=2)[1]:
                raise GeneratorRefused("not this one")
            return await super().draw(prompt, [], seed=seed)

    made = await attempt(
        tmp_path, samples=2, looks=Scores("image", [1.0] * 2), reads=Scores("text", [1.0]), model=RefusesOneSeed()
    )
    assert made.reward.total == 0.0
    assert made.drawing is not None
    assert made.drawing.how is DrawnHow.REFUSED


async def test_groups_that_draw_only_what_is_useful_take_samples_too_and_the_variance_is_a_metric(
    tmp_path: Path,
) -> None:
    looks, model = Scores("image", [0.0, 1.0, 0.5, 0.5] * 3), FakeImageModel()
    stages = Stages(
        searcher=Writes(),
        generator=StoredGenerator(model, ImageStore(tmp_path)),
        judges=[looks, Scores("text", [0.5] * 6)],
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
        picture_seed=lambda _task, _seed: 3,
        samples=2,
    )
    rules = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=True)
    group = await UsefulGroups(stages=stages, rules=GroupRules(size=4), pictures=rules)(TASK, seed=1, version=0)
    assert len(model.calls) == 4  # two wordings, two seeds
    assert all(len(one.more_images) == 1 for one in group.attempts)
    variances = [one.judgements[0].variance for one in group.attempts]
    numbers = step_metrics([group], [], StepReport(loss=0.0, grad_norm=0.0, metrics={}))
    expected = sum(variance for variance in variances if variance is not None) / 4
    assert numbers["image/score_variance"] == pytest.approx(expected)
    assert expected > 0
    line = TypeAdapter(Group)
    assert line.validate_json(line.dump_json(group)) == group


async def test_without_samples_there_is_no_such_metric(tmp_path: Path) -> None:
    made = await attempt(
        tmp_path, samples=1, looks=Scores("image", [0.5]), reads=Scores("text", [0.5]), model=FakeImageModel()
    )
    group = replace(Group(task=TASK, attempts=(made,)), version=1)
    assert "image/score_variance" not in step_metrics([group], [], StepReport(loss=0.0, grad_norm=0.0, metrics={}))
