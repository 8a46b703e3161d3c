"""A judge or a generator that is out for a share of its calls: the step's gradient is, bit for bit, that of the rest.

Both speak real HTTP on loopback and answer 503 for exactly the chosen calls. An outage of everything trains nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from gen_searcher.config.rewards import ChatServer, RewardConfig
from gen_searcher.engines.generator import Patience, StoredGenerator
from gen_searcher.engines.hosted.reference import ReferenceService
from gen_searcher.engines.hosted.server import GeneratorServer
from gen_searcher.errors import GeneratorUnavailable, Outage
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Generator, Judge
from gen_searcher.rewards.chat.text_judge import ChatTextJudge
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion, problem
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.faults import FlakyGenerator, FlakyJudge, Schedule, share_of_calls
from gen_searcher.testing.virtual_time import run_virtually
from gen_searcher.train.attempt import score_trajectory
from gen_searcher.train.grpo import GrpoRules, step_batch
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.thrifty import ThriftyAttempt
from gen_searcher.types import Group
from tests.faults.byte_qwen import byte_qwen
from tests.faults.steps import (
    CALLS,
    GROUPS,
    SIZE,
    KeepsGradients,
    KeepsRecords,
    LengthJudge,
    OnePicture,
    Scripted,
    equal_bits,
    gradient,
    grpo_rules,
    run_steps,
)

pytestmark = pytest.mark.filterwarnings("default")

SEED = 11


class ChatModel:
    """Scores an answer by its length, and is out for the chosen calls."""

    def __init__(self, out: Collection[int]) -> None:
        self._out = frozenset(out)
        self.calls = 0

    async def __call__(self, request: ChatRequest) -> ChatReply:
        self.calls += 1
        if self.calls in self._out:
            return problem(503, code=None, message="overloaded")
        answer = request.text.partition("<answer>")[2].partition("</answer>")[0]
        level = len(json.loads(answer)["gen_prompt"]) % 5 / 4
        return completion(json.dumps({"rationale": "r", "score": level}))


class FlakyModel(FakeImageModel):
    """Breaks down at the chosen calls; the server around it answers 503."""

    def __init__(self, out: Collection[int]) -> None:
        super().__init__()
        self.schedule = Schedule(out, GeneratorUnavailable)

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        self.schedule.tick()
        return await super().draw(prompt, references, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of one run of the loop."""

    recorder: KeepsRecords
    gradients: list[list[torch.Tensor]]
    error: Outage | None
    judged: int
    drawn: int


def attempt_with(store: ImageStore, *, generator: Generator, judges: list[Judge]) -> ThriftyAttempt:
    score = partial(
        score_trajectory, generator=generator, judges=judges, compose=partial(compose, rules=RewardConfig(alpha=0.5))
    )
    return ThriftyAttempt(Scripted(OnePicture(store)), score)


async def run_over_http(
    folder: Path, rules: GrpoRules, *, judge_out: Collection[int] = (), generator_out: Collection[int] = ()
) -> Ran:
    store = ImageStore(folder)
    model, painter = ChatModel(judge_out), FlakyModel(generator_out)
    service = GeneratorServer(painter)
    recorder, learner = KeepsRecords(), KeepsGradients(store)
    error = None
    async with LocalChatServer(model) as server:
        chat = ChatServer(base_url=server.base_url, model="m", tries=1)
        judge = ChatTextJudge(store=store, server=chat)
        url = await service.start()
        client = ReferenceService(url=url)
        generator = StoredGenerator(client, store, patience=Patience(tries=1))
        attempt = attempt_with(store, generator=generator, judges=[LengthJudge("image"), judge])
        truth = store.put(Image.new("RGB", (32, 32), "blue"))
        try:
            await run_steps(rules, attempt, learner=learner, recorder=recorder, truth=truth)
        except Outage as outage:
            error = outage
        finally:
            await judge.close()
            await client.close()
            await service.stop()
    return Ran(
        recorder=recorder,
        gradients=learner.gradients,
        error=error,
        judged=model.calls,
        drawn=painter.schedule.calls,
    )


def nothing_was_made_up(groups: Sequence[Group], *, stage: str) -> None:
    """Every member is either scored by all judges or lost with its reason; nothing is both, nothing is missing."""
    for group in groups:
        assert len(group.attempts) + len(group.given_up) == SIZE
        assert all(len(attempt.judgements) == 2 for attempt in group.attempts)
        assert {lost.stage for lost in group.lost} <= {stage}
        assert all("503" in lost.error for lost in group.lost)


def less(whole: Group, short: Group) -> Group:
    """The undisturbed group without the members that the other one lost."""
    lost = set(short.given_up)
    return replace(whole, attempts=tuple(attempt for attempt in whole.attempts if attempt.seed not in lost))


@pytest.mark.fault(12, 38)
@pytest.mark.parametrize("part", ["judge", "generator"])
@pytest.mark.parametrize("frac", [0.0, 0.1, 0.5])
async def test_the_gradient_of_an_outage_is_bit_for_bit_that_without_the_lost_attempts(
    tmp_path: Path, part: str, frac: float
) -> None:
    rules = grpo_rules(OutageRules(max_lost_frac=0.6))
    whole = await run_over_http(tmp_path / "whole", rules)
    out = share_of_calls(frac, calls=CALLS, seed=SEED)
    (undisturbed,) = whole.recorder.steps

    async def disturbed(tries: int = 8) -> Ran:
        """Who asks first is chance: a group may lose so many members that another one takes its place; then once more."""
        ran = await run_over_http(tmp_path / f"out-{tries}", rules, **{f"{part}_out": out})
        found = [group.task.id for group in ran.recorder.steps[0].groups]
        is_whole = found == [group.task.id for group in undisturbed.groups]
        return ran if is_whole or tries == 1 else await disturbed(tries - 1)

    ran = await disturbed()
    (step,) = ran.recorder.steps
    nothing_was_made_up(step.groups, stage="judge" if part == "judge" else "generate")
    assert sum(len(group.given_up) for group in step.groups) == round(frac * CALLS)
    rest = [less(*pair) for pair in zip(undisturbed.groups, step.groups, strict=True)]
    theirs = gradient(byte_qwen(), step_batch(rest, rules), ImageStore(tmp_path / "whole"))
    assert max(float(part.abs().max()) for part in theirs) > 0
    assert equal_bits(ran.gradients[0], theirs)
    assert equal_bits(ran.gradients[0], whole.gradients[0]) == (frac == 0.0), "what was lost would have counted"
    assert ran.recorder.waits == []


@pytest.mark.fault(12, 38)
@pytest.mark.parametrize("part", ["judge", "generator"])
async def test_at_a_hundred_percent_the_run_waits_and_ends_with_75_and_nothing_is_trained(
    tmp_path: Path, part: str
) -> None:
    rules = grpo_rules(OutageRules(max_lost_frac=0.6, wait_s=0.5, retry_s=0.05))
    ran = await run_over_http(tmp_path, rules, **{f"{part}_out": range(1, 100_000)})
    assert ran.error is not None
    assert ran.error.exit_code == 75
    assert "20 of 20 attempts" in ran.error.message
    assert ran.gradients == []
    assert ran.recorder.stopped_after == [0]
    assert [len(group.attempts) for group in ran.recorder.groups] == [0] * GROUPS
    nothing_was_made_up(ran.recorder.groups, stage="judge" if part == "judge" else "generate")
    calls = ran.judged if part == "judge" else ran.drawn
    assert calls > 2 * CALLS, "it was tried again"
    assert len(ran.recorder.waits) == 1


@pytest.mark.fault(38)
async def test_a_step_that_waited_for_the_judge_has_the_gradient_of_an_undisturbed_one_and_draws_nothing_twice(
    tmp_path: Path,
) -> None:
    rules = grpo_rules(OutageRules(max_lost_frac=0.3, wait_s=60, retry_s=0.05))
    whole = await run_over_http(tmp_path / "whole", rules)
    ran = await run_over_http(tmp_path / "out", rules, judge_out=range(1, CALLS + 8))
    assert equal_bits(ran.gradients[0], whole.gradients[0])
    assert ran.drawn == whole.drawn == CALLS, "pictures of lost attempts are kept"
    assert ran.judged == 2 * CALLS + 7
    assert [len(group.attempts) for group in ran.recorder.groups] == [SIZE] * GROUPS
    assert sum(len(group.lost) for group in ran.recorder.groups) == CALLS + 7


class Story:
    """The loop on virtual time, with a judge or a generator that is out for the chosen calls."""

    def __init__(self, folder: Path, rules: GrpoRules, *, part: str, out: Collection[int]) -> None:
        store = ImageStore(folder)
        generator: Generator = StoredGenerator(FakeImageModel(), store, patience=Patience(tries=1))
        judges: list[Judge] = [LengthJudge("image"), LengthJudge("text")]
        if part == "judge":
            judges[1] = FlakyJudge(judges[1], fail_on=out)
        else:
            generator = FlakyGenerator(generator, fail_on=out)
        self.recorder, self.learner = KeepsRecords(), KeepsGradients(store)
        self.error: Outage | None = None
        self.took_s = run_virtually(self._run(rules, attempt_with(store, generator=generator, judges=judges)))

    async def _run(self, rules: GrpoRules, attempt: ThriftyAttempt) -> float:
        try:
            await run_steps(rules, attempt, learner=self.learner, recorder=self.recorder, truth=None)
        except Outage as error:
            self.error = error
        return asyncio.get_running_loop().time()


@pytest.mark.fault(12, 38)
@pytest.mark.parametrize("part", ["judge", "generator"])
def test_an_outage_that_begins_in_the_second_step_saves_the_first_after_half_an_hour(tmp_path: Path, part: str) -> None:
    rules = grpo_rules(OutageRules(max_lost_frac=0.3), steps=3)
    story = Story(tmp_path, rules, part=part, out=range(CALLS + 1, 100_000))
    assert story.error is not None
    assert story.error.exit_code == 75
    assert story.took_s == 1800.0
    assert len(story.learner.gradients) == 1
    assert story.recorder.stopped_after == [1]
    assert [len(group.attempts) for group in story.recorder.groups] == [SIZE] * GROUPS + [0] * GROUPS
    assert len(story.recorder.waits) == 1


@pytest.mark.fault(12, 38)
@pytest.mark.parametrize("part", ["judge", "generator"])
def test_an_outage_that_passes_costs_time_and_nothing_else(tmp_path: Path, part: str) -> None:
    rules = grpo_rules(OutageRules(max_lost_frac=0.0), steps=2)
    whole = Story(tmp_path / "whole", rules, part=part, out=())
    story = Story(tmp_path / "out", rules, part=part, out=range(10, 10 + 5 * CALLS))
    assert story.error is None
    assert story.took_s > whole.took_s == 0.0
    assert len(whole.learner.gradients) == 2
    assert all(equal_bits(*pair) for pair in zip(story.learner.gradients, whole.learner.gradients, strict=True))
    assert story.recorder.waits[1::2] == [""]
