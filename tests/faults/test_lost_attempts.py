"""A judge, tool or generator that raises loses an attempt: the step's gradient is, bit for bit, that without it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import pytest
import torch
from PIL import Image

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration
from gen_searcher.grpo.advantage import group_advantages
from gen_searcher.grpo.loss import row_loss, step_denominator
from gen_searcher.grpo.objectives.tokens import PolicyTokens
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples
from gen_searcher.grpo.tensors import image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Generator, Judge, Tools
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.testing.faults import FlakyGenerator, FlakyJudge, FlakyTools
from gen_searcher.testing.scripted_engine import ScriptedEngine
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import (
    Attempt,
    FoundImage,
    Group,
    ImageRef,
    Judgement,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
)
from tests.faults.byte_qwen import byte_qwen

pytestmark = pytest.mark.filterwarnings("default")

TASK = Task(id="t1", prompt="Draw it.", target=None, meta={})
SEED = 7
SIZE = 4
LOST_MEMBER = 3


class OnePicture:
    """A tool box that always finds the same picture."""

    def __init__(self, store: ImageStore) -> None:
        view = store.put(Image.radial_gradient("L").resize((64, 32)))
        self._found = FoundImage(img_id="x", title="It", url="u", page_url="p", image=view, view=view)

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        return ToolResult(text="pictures for: it", images=(self._found,))


class LengthJudge:
    """Scores by the seed, so that attempts differ."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert trajectory.grounding is not None
        score = len(trajectory.grounding.gen_prompt) / 100
        return Judgement(
            judge=self.name, score=score, parts={}, rationale="", model="", prompt_sha256="", latency_s=0.0
        )


async def one_attempt(
    task: Task,
    *,
    seed: int,
    store: ImageStore,
    renderer: Renderer,
    tools: Tools,
    generator: Generator,
    judges: list[Judge],
) -> Attempt:
    """A member whose grounding is as long as its place in the group says."""
    place = [derive_seed(SEED, member) for member in range(SIZE)].index(seed)
    texts = [
        '<think>look</think>\n<tool_call>{"name": "image_search", "arguments": {"query": "it"}}</tool_call>',
        f'<answer>{{"gen_prompt": "it{"!" * (1 + place * place)}", '
        '"reference_images": [{"note": "It", "img_id": "IMG_001"}]}</answer>',
    ]
    agent = Agent(engine=ScriptedEngine(texts, renderer=renderer), tools=tools, renderer=renderer, config=AgentConfig())
    return await run_attempt(
        task,
        seed=seed,
        searcher=agent,
        generator=generator,
        judges=judges,
        compose=partial(compose, rules=RewardConfig(alpha=0.5)),
    )


class Broken:
    """Gives the lost member its broken part and everybody else the real one."""

    def __init__(self, store: ImageStore, part: str) -> None:
        self._store = store
        self._part = part
        self._renderer = Renderer.over_bytes()

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        tools: Tools = OnePicture(self._store)
        generator: Generator = StoredGenerator(FakeImageModel(), store=self._store)
        judges: list[Judge] = [LengthJudge("image"), LengthJudge("text")]
        if seed == derive_seed(SEED, LOST_MEMBER):
            if self._part == "tool":
                tools = FlakyTools(tools, fail_on=[1])
            elif self._part == "generator":
                generator = FlakyGenerator(generator, fail_on=[1])
            elif self._part == "judge":
                judges[1] = FlakyJudge(judges[1], fail_on=[1])
        return await one_attempt(
            task, seed=seed, store=self._store, renderer=self._renderer, tools=tools, generator=generator, judges=judges
        )


async def group_of(store: ImageStore, *, size: int, broken: str) -> Group:
    return await run_group(
        TASK, seed=SEED, version=0, rules=GroupRules(size=size, tries=1), attempt=Broken(store, broken)
    )


def gradient(model: Qwen3VLForConditionalGeneration, group: Group, store: ImageStore) -> list[torch.Tensor]:
    """Of one GRPO step on the group."""
    batch = pack(group_samples(group, group_advantages(group.rewards)), row_tokens=4096)
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


@pytest.mark.parametrize(("part", "stage"), [("tool", "search"), ("generator", "generate"), ("judge", "judge")])
async def test_a_lost_attempt_leaves_the_gradient_bit_for_bit_as_without_it(
    tmp_path: Path, part: str, stage: str
) -> None:
    store = ImageStore(tmp_path)
    with_lost = await group_of(store, size=SIZE, broken=part)
    without = await group_of(store, size=LOST_MEMBER, broken="nothing")
    assert len(with_lost.attempts) == len(without.attempts) == LOST_MEMBER
    assert [lost.seed for lost in with_lost.lost] == [derive_seed(SEED, LOST_MEMBER)]
    assert with_lost.lost[0].stage == stage
    model = byte_qwen()
    ours, theirs = gradient(model, with_lost, store), gradient(model, without, store)
    assert max(float(part.abs().max()) for part in ours) > 0
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


async def test_the_same_attempt_scored_would_have_changed_the_gradient(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    whole = await group_of(store, size=SIZE, broken="nothing")
    without = await group_of(store, size=LOST_MEMBER, broken="nothing")
    model = byte_qwen()
    ours, theirs = gradient(model, whole, store), gradient(model, without, store)
    assert not all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
