"""One GRPO step on real arithmetic: scripted attempts -> the loop -> a learner that keeps its gradient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import torch
from PIL import Image

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration
from gen_searcher.grpo.loss import row_loss, step_denominator
from gen_searcher.grpo.objectives.tokens import PolicyTokens
from gen_searcher.grpo.select import has_attempts
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.ledger.book import Ledger
from gen_searcher.protocols import Tools
from gen_searcher.testing.scripted_engine import ScriptedEngine
from gen_searcher.testing.toy_training import NoRival
from gen_searcher.train.attempt import AttemptRunner, GroupRules
from gen_searcher.train.grpo import GrpoParts, GrpoRules, train
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.stream import Step, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import (
    Batch,
    FoundImage,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Sample,
    StepReport,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
)
from tests.faults.byte_qwen import byte_qwen

GROUPS = 4
SIZE = 5
CALLS = GROUPS * SIZE
"""Attempts of a step: each asks each judge and the generator once."""


class OnePicture:
    """A tool box that always finds the same picture."""

    def __init__(self, store: ImageStore) -> None:
        view = store.put(Image.radial_gradient("L").resize((64, 32)))
        self._found = FoundImage(img_id="x", title="It", url="u", page_url="p", image=view, view=view)

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        return ToolResult(text="pictures for: it", images=(self._found,))


class OneStored:
    """A `Generator` with one picture."""

    def __init__(self, store: ImageStore) -> None:
        self._picture = store.put(Image.new("RGB", (16, 16), "red"))

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return self._picture


class LengthJudge:
    """Scores by the length of the prompt, so that attempts differ."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert trajectory.grounding is not None
        score = len(trajectory.grounding.gen_prompt) / 100
        return Judgement(
            judge=self.name, score=score, parts={}, rationale="", model="", prompt_sha256="", latency_s=0.0
        )


class Scripted:
    """A `Searcher`: one picture search, then a prompt whose length its seed says."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._renderer = Renderer.over_bytes()
        self._known: dict[int, Trajectory] = {}

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        length = seed % 41
        if length not in self._known:
            self._known[length] = await self._search(task, length, seed=seed)
        return replace(self._known[length], task_id=task.id)

    async def _search(self, task: Task, length: int, *, seed: int) -> Trajectory:
        answer = {"gen_prompt": "it" + "!" * length, "reference_images": [{"note": "It", "img_id": "IMG_001"}]}
        texts = [
            '<think>look</think>\n<tool_call>{"name": "image_search", "arguments": {"query": "it"}}</tool_call>',
            f"<answer>{json.dumps(answer)}</answer>",
        ]
        engine = ScriptedEngine(texts, renderer=self._renderer)
        agent = Agent(engine=engine, tools=self._tools, renderer=self._renderer, config=AgentConfig(prompt="brief"))
        return await agent.search(task, seed=seed)


def gradient(model: Qwen3VLForConditionalGeneration, batch: Batch, store: ImageStore) -> list[torch.Tensor]:
    """Of one GRPO step on the batch."""
    policy = PackedPolicy(model, banned_ids=(), chunk_tokens=64)
    policy.zero_grad()
    image_token_id = cast("int", model.config.image_token_id)
    for row in batch.rows:
        tensors = row_tensors(row, image_token_id=image_token_id, pixels=lambda ref: image_patches(store.get(ref)))
        logprobs, _ = policy(tensors, 1.0)
        tokens = PolicyTokens(logprobs=logprobs, old_logprobs=logprobs.detach(), advantages=tensors.advantages)
        denominator = step_denominator(DEFAULT_OBJECTIVE, trained_tokens=batch.trained_tokens, samples=batch.samples)
        row_loss(tokens, objective=DEFAULT_OBJECTIVE, denominator=denominator).loss.backward()
    return [parameter.grad.clone() for parameter in policy.parameters() if parameter.grad is not None]


def equal_bits(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) > 0 and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


class KeepsGradients:
    """A `Learner` and `Scorer` that computes each step's gradient and changes nothing."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._model = byte_qwen()
        self.gradients: list[list[torch.Tensor]] = []

    async def step(self, batch: Batch) -> StepReport:
        self.gradients.append(gradient(self._model, batch, self._store))
        return StepReport(loss=0.0, grad_norm=0.0, metrics={})

    async def logprobs(self, batch: Batch) -> Mapping[Sample, tuple[float, ...]]:
        return {sample: (0.0,) * sample.trained_tokens for row in batch.rows for sample in row}

    async def publish(self, version: int) -> None:
        return None

    async def save(self, path: Path) -> None:
        raise AssertionError(path)


class KeepsRecords:
    """A `Recorder`."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.steps: list[Step] = []
        self.stopped_after: list[int] = []
        self.waits: list[str] = []

    def on_group(self, group: Group) -> None:
        self.groups.append(group)

    def on_wait(self, says: str) -> None:
        self.waits.append(says)

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        self.steps.append(taken)

    async def before_stop(self, step: int) -> None:
        self.stopped_after.append(step)


def grpo_rules(outage: OutageRules, *, steps: int = 1, tries: int = 1) -> GrpoRules:
    return GrpoRules(
        steps=steps,
        row_tokens=4096,
        objective=DEFAULT_OBJECTIVE,
        group=GroupRules(size=SIZE, tries=tries),
        stream=StreamRules(groups_per_step=GROUPS, max_staleness=0, max_dropped=GROUPS, outage=outage),
        max_gap_nats=None,
        keep=has_attempts,
        seed=5,
    )


async def run_steps(
    rules: GrpoRules, attempt: AttemptRunner, *, learner: KeepsGradients, recorder: KeepsRecords, truth: ImageRef | None
) -> None:
    """The real loop over a handful of tasks."""
    tasks = [Task(id=f"t{n}", prompt="Draw it.", target=truth, meta={}) for n in range(GROUPS)]
    with TemporaryDirectory() as folder, closing(Ledger.open(Path(folder) / "ledger", fence=NoRival())) as ledger:
        parts = GrpoParts(attempt=attempt, learner=learner, scorer=learner, recorder=recorder, ledger=ledger)
        await train(rules, parts, (Visit(number=number, task=task) for number, task in enumerate(cycle(tasks))))
        ledger.check_conserved()
