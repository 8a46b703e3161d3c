"""A judge, tool or generator that raises loses an attempt: the step's gradient is, bit for bit, that without it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.engines.qwen_forward import Qwen3VLForConditionalGeneration
from gen_searcher.grpo.advantage import group_advantages
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples
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
    Group,
    Task,
)
from tests.faults.byte_qwen import byte_qwen
from tests.faults.steps import LengthJudge, OnePicture, equal_bits, gradient

pytestmark = pytest.mark.filterwarnings("default")

TASK = Task(id="t1", prompt="Draw it.", target=None, meta={})
SEED = 7
SIZE = 4
LOST_MEMBER = 3


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


def step_gradient(model: Qwen3VLForConditionalGeneration, group: Group, store: ImageStore) -> list[torch.Tensor]:
    return gradient(model, pack(group_samples(group, group_advantages(group.rewards)), row_tokens=4096), store)


@pytest.mark.fault(20, 38)
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
    ours, theirs = step_gradient(model, with_lost, store), step_gradient(model, without, store)
    assert max(float(part.abs().max()) for part in ours) > 0
    assert equal_bits(ours, theirs)


async def test_the_same_attempt_scored_would_have_changed_the_gradient(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    whole = await group_of(store, size=SIZE, broken="nothing")
    without = await group_of(store, size=LOST_MEMBER, broken="nothing")
    model = byte_qwen()
    ours, theirs = step_gradient(model, whole, store), step_gradient(model, without, store)
    assert not equal_bits(ours, theirs)
