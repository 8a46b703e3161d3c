"""A look at one's own picture: one drawing when the answer stays, two when it does not, and no number for an outage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.drawing import Capability, DrawnHow, OwnPicture
from gen_searcher.errors import GeneratorError, GeneratorRefused, ProviderError, WorldError
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.ledger.payload import cost_usd, pack_attempt, unpack_attempt
from gen_searcher.protocols import Generator
from gen_searcher.train.attempt import (
    GroupRules,
    PictureSeed,
    member_seed,
    member_seeds,
    run_group,
    score_trajectory,
    task_seed,
)
from gen_searcher.train.looking import LookingSearcher, LookRules, RememberedDrawings
from gen_searcher.train.thrifty import ThriftyAttempt
from gen_searcher.train.useful import Stages, UsefulGroups
from gen_searcher.types import (
    Attempt,
    FoundImage,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    ToolResult,
    Trajectory,
    Turn,
)

TASK = Task(id="t1", prompt="draw", target=None, meta={})
AGENT = AgentConfig(looks=1)
PRICE = Capability(usd_per_picture=0.04)
RULES = GroupRules(size=2, tries=3)
TURN = Turn(prompt_ids=(1,), completion_ids=(2,), logprobs=(-0.5,), versions=(0,))


def ref(name: str) -> ImageRef:
    return ImageRef(sha256=name, width_px=8, height_px=8)


class Answers:
    """Answers at once."""

    def __init__(self, outcome: Outcome = Outcome.GROUNDED) -> None:
        self.outcome = outcome
        self.calls = 0

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        self.calls += 1
        grounding = Grounding(gen_prompt="first", references=()) if self.outcome is Outcome.GROUNDED else None
        return Trajectory(task_id=task.id, turns=(TURN,), outcome=self.outcome, grounding=grounding)


class Revises:
    """Says the next of its words, for ever the last: "" keeps, "!" is malformed, an error is raised."""

    def __init__(self, *words: str | WorldError) -> None:
        self.words = list(words)
        self.shown: list[OwnPicture] = []

    async def revise(self, trajectory: Trajectory, drawn: OwnPicture, *, seed: int) -> Trajectory:
        word = self.words[min(len(self.shown), len(self.words) - 1)]
        self.shown.append(drawn)
        if isinstance(word, WorldError):
            raise word
        view = FoundImage(img_id="", title="", url="", page_url="", image=drawn.image, view=ref("view"))
        seen = ToolResult(text="", images=(view,), cost_usd=drawn.cost_usd, latency_s=drawn.latency_s)
        turns = (replace(TURN, result=seen), replace(TURN, images=(ref("view"),)))
        if word == "!":
            return replace(trajectory, turns=turns, outcome=Outcome.MALFORMED, grounding=None)
        grounding = Grounding(gen_prompt=word, references=()) if word else trajectory.grounding
        return replace(trajectory, turns=turns, grounding=grounding)


class Draws:
    """Every drawing is another picture, as that of a hosted model without seeds."""

    def __init__(self, *errors: WorldError) -> None:
        self.errors = list(errors)
        self.asked: list[tuple[str, int]] = []

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        self.asked.append((grounding.gen_prompt, seed))
        if self.errors:
            raise self.errors.pop(0)
        return ref(f"{grounding.gen_prompt} {len(self.asked)}")


class Sees:
    """Scores 1 for the picture of the second answer, else 0.25."""

    name = "image"

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert image is not None
        score = 1.0 if image.sha256.startswith("second") else 0.25
        return Judgement(judge="image", score=score, parts={}, rationale="", model="", prompt_sha256="", latency_s=0.0)


def compose(trajectory: Trajectory, judgements: Sequence[Judgement]) -> Reward:
    return Reward(total=sum(judgement.score for judgement in judgements), parts={})


class Run:
    def __init__(
        self, reviser: Revises, generator: Draws, *, searcher: Answers | None = None, seeds: PictureSeed = member_seed
    ) -> None:
        self.answers = searcher or Answers()
        self.drawings: Generator = RememberedDrawings(generator)
        rules = LookRules(agent=AGENT, max_images=4, picture_seed=seeds, capability=PRICE)
        self.searcher = LookingSearcher(self.answers, reviser, self.drawings, rules=rules)
        self.seeds = seeds

    async def group(self, *, size: int = 1) -> Group:
        async def score(task: Task, trajectory: Trajectory, *, seed: int) -> Attempt:
            return await score_trajectory(
                task,
                trajectory,
                seed=seed,
                generator=self.drawings,
                judges=[Sees()],
                compose=compose,
                picture_seed=self.seeds,
                capability=PRICE,
            )

        rules = replace(RULES, size=size)
        return await run_group(TASK, seed=9, version=0, rules=rules, attempt=ThriftyAttempt(self.searcher, score))


async def test_an_answer_that_stays_is_drawn_once_judged_by_the_picture_that_was_shown_and_paid_once() -> None:
    draws, revises = Draws(), Revises("")
    (attempt,) = (await Run(revises, draws).group()).attempts
    assert [prompt for prompt, _ in draws.asked] == ["first"]
    assert attempt.image == revises.shown[0].image == ref("first 1")
    assert attempt.reward.total == 0.25
    assert attempt.drawing is not None
    assert (attempt.drawing.how, attempt.drawing.cost_usd) == (DrawnHow.DRAWN, 0.0)
    assert cost_usd(attempt) == pytest.approx(0.04)


async def test_another_answer_is_drawn_with_the_same_seed_and_both_drawings_are_paid() -> None:
    draws = Draws()
    (attempt,) = (await Run(Revises("second"), draws).group()).attempts
    assert draws.asked == [("first", attempt.seed), ("second", attempt.seed)]
    assert attempt.image == ref("second 2")
    assert attempt.reward.total == 1.0
    assert cost_usd(attempt) == pytest.approx(0.08)


async def test_a_look_and_both_pictures_come_back_from_the_ledger() -> None:
    (attempt,) = (await Run(Revises("second"), Draws()).group()).attempts
    again = unpack_attempt(pack_attempt(attempt))
    assert again == attempt
    told = again.trajectory.turns[0].result
    assert told is not None
    assert (told.images[0].image, again.image) == (ref("first 1"), ref("second 2"))


async def test_pictures_of_one_task_share_a_seed_when_they_are_to() -> None:
    draws = Draws()
    await Run(Revises("second"), draws, seeds=task_seed).group(size=2)
    assert {seed for _, seed in draws.asked} == {task_seed(TASK, 0)}


async def test_nonsense_about_a_picture_earns_what_nonsense_earns_and_is_not_drawn_again() -> None:
    draws = Draws()
    (attempt,) = (await Run(Revises("!"), draws).group()).attempts
    assert (attempt.trajectory.outcome, attempt.image, attempt.reward.total) == (Outcome.MALFORMED, None, 0.0)
    assert len(draws.asked) == 1
    assert cost_usd(attempt) == pytest.approx(0.04)


async def test_an_outage_of_the_generator_before_the_look_is_lost_and_the_search_is_not_made_again() -> None:
    draws = Draws(GeneratorError("out of memory"))
    run = Run(Revises("second"), draws)
    group = await run.group()
    assert [(lost.stage, lost.error) for lost in group.lost] == [("generate", "out of memory")]
    assert group.rewards == (1.0,)
    assert run.answers.calls == 1


async def test_an_outage_that_stays_is_no_attempt_and_no_number() -> None:
    draws = Draws(*[GeneratorError("out of memory")] * 3)
    revises = Revises("")
    group = await Run(revises, draws).group()
    assert (group.attempts, group.rewards) == ((), ())
    assert [lost.stage for lost in group.lost] == ["generate"] * 3
    assert revises.shown == []


async def test_a_worker_lost_during_the_look_costs_no_second_search_and_no_second_drawing() -> None:
    draws, revises = Draws(), Revises(ProviderError("gone", "search"), "")
    run = Run(revises, draws)
    group = await run.group()
    assert [lost.stage for lost in group.lost] == ["search"]
    assert (run.answers.calls, len(draws.asked), group.rewards) == (1, 1, (0.25,))
    assert revises.shown[0].image == revises.shown[1].image


async def test_an_answer_that_the_generator_declines_is_not_looked_at_and_worth_nothing() -> None:
    revises = Revises("second")
    draws = Draws(GeneratorRefused("no"), GeneratorRefused("no"))
    (attempt,) = (await Run(revises, draws).group()).attempts
    assert revises.shown == []
    assert attempt.drawing is not None
    assert (attempt.drawing.how, attempt.reward.total) == (DrawnHow.REFUSED, 0.0)


async def test_without_an_answer_nothing_is_drawn_or_shown() -> None:
    draws, revises = Draws(), Revises("")
    (attempt,) = (await Run(revises, draws, searcher=Answers(Outcome.OUT_OF_TURNS)).group()).attempts
    assert attempt.trajectory.outcome is Outcome.OUT_OF_TURNS
    assert (draws.asked, revises.shown) == ([], [])


async def test_drawings_that_are_forgotten_are_drawn_again() -> None:
    draws = Draws()
    drawings = RememberedDrawings(draws, remembered=2)
    one, two, three = (Grounding(gen_prompt=word, references=()) for word in ("1", "2", "3"))
    for grounding in (one, two, one, three, one, two):
        await drawings.generate(grounding, seed=5)
    assert [prompt for prompt, _ in draws.asked] == ["1", "2", "3", "2"]
    await drawings.generate(two, seed=6)
    assert draws.asked[-1] == ("2", 6)


async def test_a_group_that_draws_only_what_is_useful_looks_as_well() -> None:
    draws = Draws()
    run = Run(Revises("", "second"), draws)
    stages = Stages(searcher=run.searcher, generator=run.drawings, judges=[Sees()], compose=compose, capability=PRICE)
    pictures = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=True)
    group = await UsefulGroups(stages=stages, rules=RULES, pictures=pictures)(TASK, seed=9, version=0)
    assert sorted(group.rewards) == [0.25, 1.0]
    assert sorted(draws.asked) == sorted(
        [*(("first", seed) for seed in member_seeds(9, rules=RULES)), ("second", group.attempts[1].seed)]
    )
    assert sorted(cost_usd(attempt) for attempt in group.attempts) == [pytest.approx(0.04), pytest.approx(0.08)]
