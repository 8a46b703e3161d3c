"""A policy that never or always succeeds, and one that writes garbage: defined outcomes, finite numbers, said aloud."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import TooManyLost
from gen_searcher.grpo.select import has_signal
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.testing.fake_tools import FakeTools
from gen_searcher.testing.scripted_engine import ScriptedEngine
from gen_searcher.train.attempt import AttemptRunner, run_attempt
from gen_searcher.train.grpo import WARN_EVERY_IDLE
from gen_searcher.train.outage import OutageRules
from gen_searcher.types import Attempt, Batch, Outcome, StepReport, Task, ToolResult
from tests.faults.steps import (
    GROUPS,
    SIZE,
    KeepsGradients,
    KeepsRecords,
    OnePicture,
    OneStored,
    Scripted,
    grpo_rules,
    run_steps,
)

pytestmark = pytest.mark.filterwarnings("default")

RENDERER = Renderer.over_bytes()
TASK = Task(id="t", prompt="Draw it.", target=None, meta={})


def equal_rewards(store: ImageStore) -> AttemptRunner:
    scores = {f"t{number}": 0.5 for number in range(GROUPS)}
    return partial(
        run_attempt,
        searcher=Scripted(OnePicture(store)),
        generator=OneStored(store),
        judges=[FakeJudge(name="image", scores=scores), FakeJudge(name="text", scores=scores)],
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )


@pytest.mark.fault(39)
async def test_a_run_in_which_all_rewards_are_equal_stops_with_3_and_takes_no_step(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    recorder, learner = KeepsRecords(), KeepsGradients(store)
    rules = replace(grpo_rules(OutageRules(max_lost_frac=0.3), steps=50), keep=has_signal)
    with pytest.raises(TooManyLost, match="groups in a row had nothing to teach") as caught:
        await run_steps(rules, equal_rewards(store), learner=learner, recorder=recorder, truth=None)
    assert caught.value.exit_code == 3
    assert learner.gradients == []
    assert (recorder.steps, recorder.stopped_after) == ([], [0])
    assert [len(group.attempts) for group in recorder.groups] == [SIZE] * len(recorder.groups)


class KeepsAdvantages(KeepsGradients):
    """Computes the gradient of the first step only: fifty of them would show the same."""

    def __init__(self, store: ImageStore) -> None:
        super().__init__(store)
        self.advantages: set[float] = set()

    async def step(self, batch: Batch) -> StepReport:
        self.advantages |= {sample.advantage for row in batch.rows for sample in row}
        return await super().step(batch) if not self.gradients else StepReport(loss=0.0, grad_norm=0.0, metrics={})


@pytest.mark.fault(39)
async def test_fifty_steps_without_an_advantage_are_said_aloud_and_have_a_gradient_of_zero(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ImageStore(tmp_path)
    recorder, learner = KeepsRecords(), KeepsAdvantages(store)
    with caplog.at_level(logging.WARNING, logger="gen_searcher.train.grpo"):
        await run_steps(
            grpo_rules(OutageRules(max_lost_frac=0.3), steps=50),
            equal_rewards(store),
            learner=learner,
            recorder=recorder,
            truth=None,
        )
    assert learner.advantages == {0.0}
    assert max(float(part.abs().max()) for part in learner.gradients[0]) == 0.0
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 50 // WARN_EVERY_IDLE
    assert said[-1].startswith("50 steps in a row had no advantage")


def call(query: str = "q") -> str:
    return f"<tool_call>{json.dumps({'name': 'search', 'arguments': {'queries': [query]}})}</tool_call>"


def answer(prompt: str = "a flag", *ids: str) -> str:
    references = [{"note": "n", "img_id": each} for each in ids]
    return f"<answer>{json.dumps({'gen_prompt': prompt, 'reference_images': references})}</answer>"


HIDDEN = "\u200b\u2060\ufeff\u202e"
WRITES: dict[str, tuple[list[str], Outcome]] = {
    "malformed JSON to the end": (['<tool_call>{"name": "search"', "<tool_call>{]</tool_call>", "<answer>{"], Outcome.MALFORMED),
    "two calls, then an answer": ([call("a") + call("b"), answer()], Outcome.GROUNDED),
    "two calls in the last turn": ([call("a"), call("b"), call("c") + call("d")], Outcome.MALFORMED),
    "a call after the final step": ([call("a"), call("b"), call("c")], Outcome.OUT_OF_TURNS),
    "a call behind the answer": ([answer() + call()], Outcome.GROUNDED),
    "30,000 tokens": (["x" * 30_000, "y" * 30_000, "z" * 30_000], Outcome.OUT_OF_TOKENS),
    "the same for ever": (["again and again"] * 3, Outcome.REPEATED),
    "invisible characters": ([HIDDEN, HIDDEN + "2", HIDDEN + "3"], Outcome.MALFORMED),
    "invisible characters in the tags": ([f"<ans{HIDDEN}wer>{{}}</answer>", "1", "2"], Outcome.MALFORMED),
    "pictures it never saw": ([answer("a", "IMG_001"), answer("b", "IMG_999"), answer("c", "img_1")], Outcome.MALFORMED),
    "a made-up result": ([f"<tool_response>IMG_001</tool_response>{answer('a', 'IMG_001')}", "1", "2"], Outcome.MALFORMED),
    "nothing": (["", "1", "2"], Outcome.MALFORMED),
}  # fmt: skip


async def attempt_that_writes(store: ImageStore, texts: list[str]) -> Attempt:
    tools = FakeTools({"search": [ToolResult(text="found")] * 9})
    config = AgentConfig(prompt="brief", max_turns=3, max_tool_calls=3, max_context_tokens=20_000, answer_tokens=300)
    return await run_attempt(
        TASK,
        seed=1,
        searcher=Agent(engine=ScriptedEngine(texts, renderer=RENDERER), tools=tools, renderer=RENDERER, config=config),
        generator=StoredGenerator(FakeImageModel(), store),
        judges=[FakeJudge(name="image", scores={"t": 0.5}), FakeJudge(name="text", scores={"t": 1.0})],
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )


@pytest.mark.fault(40)
@pytest.mark.parametrize("writes", WRITES)
async def test_whatever_the_policy_writes_has_an_outcome_and_only_a_grounding_earns(
    tmp_path: Path, writes: str
) -> None:
    texts, outcome = WRITES[writes]
    attempt = await attempt_that_writes(ImageStore(tmp_path), texts)
    assert attempt.trajectory.outcome is outcome
    assert attempt.reward.total == (0.75 if outcome is Outcome.GROUNDED else 0.0)
    assert len(attempt.judgements) == (2 if outcome is Outcome.GROUNDED else 0)
    assert all(
        len(turn.completion_ids) == len(turn.logprobs) == len(turn.versions) for turn in attempt.trajectory.turns
    )
