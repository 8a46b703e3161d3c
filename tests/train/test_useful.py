"""A group that draws only what can move the policy has the advantages of one that draws everything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.drawing import Capability, DrawnHow
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import BudgetSpent, GeneratorRefused, JudgeError
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.grpo.select import has_signal
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import span
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.faults import FlakyGenerator, FlakyJudge
from gen_searcher.train.attempt import GroupRules, member_seeds, run_attempt, run_group, task_seed
from gen_searcher.train.useful import Stages, UsefulGroups
from gen_searcher.types import Grounding, Group, ImageRef, Judgement, Outcome, Task, Trajectory
from tests.metrics.traces.recorder import recorded

TASK = Task(id="t1", prompt="draw", target=None, meta={})
RULES = GroupRules(size=6)
PICTURES = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=True)
SEEDS = member_seeds(9, rules=RULES)


class Writes:
    """Member n writes the n-th prompt; "" writes nothing valid."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self.prompts: Mapping[int, str] = dict(zip(SEEDS, prompts, strict=True))

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        prompt = self.prompts[seed]
        return Trajectory(
            task_id=task.id,
            turns=(),
            outcome=Outcome.GROUNDED if prompt else Outcome.MALFORMED,
            grounding=Grounding(gen_prompt=prompt, references=()) if prompt else None,
        )


class Looks:
    """Scores a picture by its pixels."""

    name = "image"

    def __init__(self, store: ImageStore) -> None:
        self.store = store

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert image is not None
        return verdict("image", int(image.sha256[:4], 16) / 0xFFFF)


class Reads:
    """Scores a prompt by its length."""

    name = "text"

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert trajectory.grounding is not None
        return verdict("text", len(trajectory.grounding.gen_prompt) / 10)


def verdict(name: str, score: float) -> Judgement:
    return Judgement(judge=name, score=score, parts={}, rationale="", model="", prompt_sha256="", latency_s=0.0)


@pytest.fixture
def model() -> FakeImageModel:
    return FakeImageModel()


@pytest.fixture
def stages(tmp_path: Path, model: FakeImageModel) -> Stages:
    store = ImageStore(tmp_path)
    return Stages(
        searcher=Writes([""] * 6),
        generator=StoredGenerator(model, store),
        judges=[Looks(store), Reads()],
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
        picture_seed=task_seed,
        capability=Capability(usd_per_picture=0.25),
    )


async def both(stages: Stages, prompts: Sequence[str]) -> tuple[Group, Group]:
    stages = replace(stages, searcher=Writes(prompts))
    attempt = partial(
        run_attempt,
        searcher=stages.searcher,
        generator=stages.generator,
        judges=stages.judges,
        compose=stages.compose,
        picture_seed=stages.picture_seed,
        capability=stages.capability,
    )
    plain = await run_group(TASK, seed=9, version=1, rules=RULES, attempt=attempt)
    useful = await UsefulGroups(stages=stages, rules=RULES, pictures=PICTURES)(TASK, seed=9, version=1)
    return plain, useful


@pytest.mark.parametrize(
    "prompts", [["a", "b", "a", "", "b", "a"], ["a", "a", "a", "a", "a", ""], ["a", "bb", "c", "d", "e", "f"]]
)
async def test_trained_groups_have_the_same_rewards_and_advantages(stages: Stages, prompts: list[str]) -> None:
    plain, useful = await both(stages, prompts)
    assert useful.rewards == plain.rewards
    assert attempt_advantages(useful, DEFAULT_OBJECTIVE) == attempt_advantages(plain, DEFAULT_OBJECTIVE)
    assert has_signal(useful)
    assert [attempt.seed for attempt in useful.attempts] == list(SEEDS)
    assert useful.version == 1


@pytest.mark.parametrize("prompts", [["a"] * 6, [""] * 6])
async def test_a_group_that_cannot_teach_is_dropped_either_way(stages: Stages, prompts: list[str]) -> None:
    plain, useful = await both(stages, prompts)
    assert (has_signal(plain), has_signal(useful)) == (False, False)
    assert len(useful.attempts) == 6


async def test_what_was_saved_is_recorded_with_its_reason(stages: Stages, model: FakeImageModel) -> None:
    useful = UsefulGroups(
        stages=replace(stages, searcher=Writes(["a", "b", "a", "", "a", "b"])), rules=RULES, pictures=PICTURES
    )
    group = await useful(TASK, seed=9, version=0)
    drawings = [attempt.drawing for attempt in group.attempts]
    assert [drawing and str(drawing.how) for drawing in drawings] == [
        "drawn", "drawn", "reused", None, "reused", "reused",
    ]  # fmt: skip
    assert drawings[5] is not None
    assert drawings[5].reason == "the same grounding as attempt 2 of the group"
    assert [drawing and drawing.cost_usd for drawing in drawings] == [0.25, 0.25, 0.0, None, 0.0, 0.0]
    assert len(model.calls) == 2


async def test_a_skipped_picture_leaves_the_other_judges_share(stages: Stages, model: FakeImageModel) -> None:
    useful = UsefulGroups(stages=replace(stages, searcher=Writes(["abcd"] * 6)), rules=RULES, pictures=PICTURES)
    group = await useful(TASK, seed=9, version=0)
    assert model.calls == []
    assert group.rewards == (0.2,) * 6
    assert {attempt.drawing.how for attempt in group.attempts if attempt.drawing} == {DrawnHow.SKIPPED}


async def test_a_lost_picture_is_tried_again_and_loses_nobody_else(stages: Stages) -> None:
    flaky = FlakyGenerator(stages.generator, fail_on=[2])
    useful = UsefulGroups(
        stages=replace(stages, searcher=Writes(["a", "b", "c", "d", "e", "f"]), generator=flaky),
        rules=RULES,
        pictures=PICTURES,
    )
    group = await useful(TASK, seed=9, version=0)
    assert len(group.attempts) == 6
    assert [(lost.stage, lost.seed) for lost in group.lost] == [("generate", SEEDS[1])]


async def test_a_text_judge_without_a_verdict_loses_its_member_and_pays_for_no_picture(
    stages: Stages, model: FakeImageModel
) -> None:
    class Silent(Reads):
        async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
            if trajectory.grounding is not None and trajectory.grounding.gen_prompt == "c":
                raise JudgeError("no verdict")
            return await super().judge(task, trajectory, image)

    useful = UsefulGroups(
        stages=replace(stages, searcher=Writes(list("abcdef")), judges=[stages.judges[0], Silent()]),
        rules=RULES,
        pictures=PICTURES,
    )
    group = await useful(TASK, seed=9, version=0)
    assert group.given_up == (SEEDS[2],)
    assert [prompt for prompt, *_ in model.calls] == ["a", "b", "d", "e", "f"]


async def test_a_refused_grounding_is_worth_nothing_in_both(stages: Stages) -> None:
    class Refuses:
        async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
            if grounding.gen_prompt == "b":
                raise GeneratorRefused("no violence, please")
            return await stages.generator.generate(grounding, seed=seed)

    for group in await both(replace(stages, generator=Refuses()), ["a", "b", "c", "d", "e", "b"]):
        assert [attempt.reward.total == 0.0 for attempt in group.attempts] == [False, True, False, False, False, True]
        assert group.lost == ()
        drawing = group.attempts[1].drawing
        assert drawing is not None
        assert (drawing.how, drawing.reason) == (DrawnHow.REFUSED, "no violence, please")


@pytest.mark.parametrize("prompts", [["a", "b", "a", "", "b", "a"], ["a", "bb", "c", "d", "e", "f"]])
@pytest.mark.parametrize("part", ["generator", "text"])
async def test_a_group_whose_lost_members_were_made_later_is_the_group_without_an_outage(
    stages: Stages, model: FakeImageModel, prompts: list[str], part: str
) -> None:
    stages = replace(stages, searcher=Writes(prompts))
    whole = await UsefulGroups(stages=stages, rules=RULES, pictures=PICTURES)(TASK, seed=9, version=1)
    if part == "generator":
        broken = replace(stages, generator=FlakyGenerator(stages.generator, fail_on=[1, 2]))
    else:
        looks, reads = stages.judges
        broken = replace(stages, judges=[looks, FlakyJudge(reads, fail_on=[1, 2])])
    once = GroupRules(size=6, tries=1)
    short = await UsefulGroups(stages=broken, rules=once, pictures=PICTURES)(TASK, seed=9, version=1)
    assert len(short.given_up) == 2
    drawn = len(model.calls)
    mended = await UsefulGroups(stages=stages, rules=once, pictures=PICTURES)(TASK, seed=9, version=1, earlier=short)
    assert mended.rewards == whole.rewards
    assert [attempt.seed for attempt in mended.attempts] == [attempt.seed for attempt in whole.attempts]
    assert mended.lost == short.lost
    assert len(model.calls) == drawn, "every picture was drawn before the outage"


async def test_a_group_that_looked_flat_because_of_an_outage_is_drawn_when_it_is_mended(stages: Stages) -> None:
    stages = replace(stages, searcher=Writes(["a", "a", "a", "a", "a", "bb"]))
    looks, reads = stages.judges
    broken = replace(stages, judges=[looks, FlakyJudge(reads, fail_on=[6])])
    once = GroupRules(size=6, tries=1)
    short = await UsefulGroups(stages=broken, rules=once, pictures=PICTURES)(TASK, seed=9, version=1)
    assert {attempt.drawing.how for attempt in short.attempts if attempt.drawing} == {DrawnHow.SKIPPED}
    mended = await UsefulGroups(stages=stages, rules=once, pictures=PICTURES)(TASK, seed=9, version=1, earlier=short)
    whole = await UsefulGroups(stages=stages, rules=RULES, pictures=PICTURES)(TASK, seed=9, version=1)
    assert mended.rewards == whole.rewards
    assert [attempt.drawing for attempt in mended.attempts] == [attempt.drawing for attempt in whole.attempts]


@pytest.mark.parametrize("part", ["search", "read", "draw"])
async def test_when_a_member_ends_the_run_its_siblings_are_stopped_before_the_error_leaves_the_group(
    stages: Stages, part: str
) -> None:
    ends = EndsTheRun(stages, part=part)
    stages = replace(stages, searcher=ends, generator=ends, judges=[stages.judges[0], ends])
    useful = UsefulGroups(stages=stages, rules=RULES, pictures=PICTURES)
    with pytest.raises(BudgetSpent):
        await useful(TASK, seed=9, version=1)
    assert (ends.waiting, ends.stopped) == (5, 5)


class EndsTheRun:
    """Of the calls of one part the last ends the run; the others wait for ever."""

    name = "text"

    def __init__(self, stages: Stages, *, part: str) -> None:
        self._part = part
        self._writes = Writes(list("abcdef"))
        self._reads = stages.judges[1]
        self._draws = stages.generator
        self.waiting = 0
        self.stopped = 0

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        await self._passes("search")
        return await self._writes.search(task, seed=seed)

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        await self._passes("read")
        return await self._reads.judge(task, trajectory, image)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        await self._passes("draw")
        return await self._draws.generate(grounding, seed=seed)

    async def _passes(self, part: str) -> None:
        if part != self._part:
            return
        if self.waiting == 5:
            raise BudgetSpent("nothing is left")
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1


class Traced:
    """Searches, draws and judges with a span around it, as the pools do."""

    name = "text"

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._reads = stages.judges[1]

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        with span("invoke_agent"):
            return await self._stages.searcher.search(task, seed=seed)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        with span("draw"):
            return await self._stages.generator.generate(grounding, seed=seed)

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        with span("judge"):
            return await self._reads.judge(task, trajectory, image)


async def test_the_parts_of_a_member_that_wait_for_its_siblings_are_one_trace(stages: Stages) -> None:
    stages = replace(stages, searcher=Writes(["a", "bb", "c", "d", "e", ""]))
    traced = Traced(stages)
    stages = replace(
        stages, searcher=traced, generator=traced, judges=[stages.judges[0], FlakyJudge(traced, fail_on=[1])]
    )
    with recorded() as keeps:
        group = await UsefulGroups(stages=stages, rules=RULES, pictures=PICTURES)(TASK, seed=9, version=1)
    assert len(group.attempts) == 6
    attempts = keeps.named("attempt")
    assert sorted(each.attributes[names.ATTEMPT_SEED] for each in attempts) == sorted(SEEDS)  # pyright: ignore
    rewards = {each.attributes[names.ATTEMPT_SEED]: each.attributes[names.REWARD] for each in attempts}
    assert rewards == {attempt.seed: attempt.reward.total for attempt in group.attempts}
    (first,) = [each for each in attempts if each.attributes[names.ATTEMPT_SEED] == group.lost[0].seed]
    own = [each for each in keeps.spans if each.identity.trace_id == first.identity.trace_id]
    assert [each.name for each in own] == ["attempt", "try", "invoke_agent", "try", "try", "judge", "try", "draw"]
    assert [each.error is not None for each in own if each.name == "try"] == [False, True, False, False]
    assert first.error is None
