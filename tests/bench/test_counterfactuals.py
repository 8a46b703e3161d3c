"""What is drawn and judged once more, and what becomes of it when the world fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.bench.attribution import Standing
from gen_searcher.bench.counterfactuals import Counterfactuals
from gen_searcher.bench.embedded_oracle import EmbeddedOracle
from gen_searcher.bench.links import Link, Parts
from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.engines.compositor import Compositor
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel, Judge
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.train.attempt import GroupRules
from gen_searcher.types import Attempt, Facts, Grounding, Judgement, Outcome, Reward, Subject, Task, Trajectory
from gen_searcher.world import World
from gen_searcher.world.canvas import compose, slot_boxes

RIGHT: Parts = {"faithfulness": 1.0, "visual_correctness": 1.0, "text_accuracy": None, "aesthetics": 1.0}
WRONG: Parts = {**RIGHT, "faithfulness": 0.1, "visual_correctness": 0.1}
WORDS = "the first reference image alone, at night"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path)


@pytest.fixture
def task(store: ImageStore) -> Task:
    flag = World.load().picture("flag-pl")
    subject = Subject(entity="flag-pl", name="Flag of Poland", box=slot_boxes("alone")[0])
    return Task(
        id="flag",
        prompt="Draw the flag of Poland, at night.",
        target=store.put(compose([flag], layout="alone", style="night", caption=None)),
        facts=Facts(subjects=(subject,), layout="alone", style="night"),
        meta={"family": "flag", "given.country": "Poland", "layout": "alone", "style": "night", "caption_of": ""},
    )


def judgement(parts: Parts) -> Judgement:
    return Judgement(judge="image", score=0.5, parts=parts, rationale="", model="", prompt_sha256="", latency_s=0.0)


def attempt(parts: Parts, **fields: object) -> Attempt:
    grounding = Grounding(gen_prompt=WORDS, references=())
    made = Attempt(
        trajectory=Trajectory(task_id="flag", turns=(), outcome=Outcome.GROUNDED, grounding=grounding),
        seed=5,
        image=None,
        judgements=(judgement(parts),),
        reward=Reward(total=0.0, parts={}),
    )
    return replace(made, **fields)


def counterfactuals(store: ImageStore, *, model: ImageModel, judge: Judge | None = None) -> Counterfactuals:
    return Counterfactuals(
        oracle=EmbeddedOracle(store=store),
        generator=StoredGenerator(model, store),
        judge=OfflineImageJudge(store=store) if judge is None else judge,
        bar=0.6,
        rules=GroupRules(size=1, tries=2),
    )


async def test_an_attempt_without_a_complaint_costs_nothing(store: ImageStore, task: Task) -> None:
    model = FakeImageModel()
    found = await counterfactuals(store, model=model).why(task, attempt(RIGHT))
    assert (found.standing, found.complaints, model.calls) == (Standing.NONE, (), [])


async def test_a_request_that_was_handed_in_without_a_search_lacks_the_picture(store: ImageStore, task: Task) -> None:
    found = await counterfactuals(store, model=Compositor()).why(task, attempt(WRONG))
    assert (found.link, found.why) == (Link.SEARCH, "the picture 'Flag of Poland' was never shown")
    assert found.mended is not None
    assert found.mended["visual_correctness"] == 1.0


async def test_counterfactuals_are_drawn_with_the_seed_of_the_attempts_own_picture(
    store: ImageStore, task: Task
) -> None:
    model = FakeImageModel()
    judge = FakeJudge(scores={"flag": 0.0}, parts=WRONG)
    drawing = Drawing(how=DrawnHow.DRAWN, seed=77)
    found = await counterfactuals(store, model=model, judge=judge).why(task, attempt(WRONG, drawing=drawing))
    assert model.calls == [(f"{WORDS}", 1, 77)]
    assert found.link is Link.JUDGING


async def test_a_judge_that_watched_and_disagrees_is_heard_before_anything_is_drawn(
    store: ImageStore, task: Task
) -> None:
    model = FakeImageModel()
    found = await counterfactuals(store, model=model).why(task, attempt(WRONG, shadow=(judgement(RIGHT),)))
    assert (found.link, found.mended, model.calls) == (Link.JUDGING, RIGHT, [])
    agreeing = attempt(WRONG, shadow=(judgement(WRONG), judgement({"style": 1.0})))
    assert (await counterfactuals(store, model=Compositor()).why(task, agreeing)).link is Link.SEARCH


async def test_what_the_world_spoils_is_undecided_and_says_where(store: ImageStore, task: Task) -> None:
    model = FakeImageModel(fails_on=WORDS)
    found = await counterfactuals(store, model=model).why(task, attempt(WRONG))
    assert (found.standing, found.link) == (Standing.UNDECIDED, None)
    assert "a counterfactual was lost at generate" in found.why
    assert found.complaints == ("faithfulness", "visual_correctness")
    assert len(model.calls) == 2, "it was tried as often as the rules say"


async def test_a_task_of_another_world_is_asked_about_its_ground_truth_only(store: ImageStore, task: Task) -> None:
    strange = replace(task, meta={"category": "anime"})
    for parts, link in ((RIGHT, None), (WRONG, Link.JUDGING)):
        model = FakeImageModel()
        judge = FakeJudge(scores={"flag": 0.0}, parts=parts)
        found = await counterfactuals(store, model=model, judge=judge).why(strange, attempt(WRONG))
        assert (found.link, model.calls, judge.asked) == (link, [], ["flag"])
