"""The learner sees what the sampler saw: real vLLM rollouts against the learner's own forward pass."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from gen_searcher.agent.look import Looker
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import SPECIAL_TOKENS, Picture, Renderer
from gen_searcher.config.agent import AgentConfig
from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.drawing import OwnPicture
from gen_searcher.engines import environment, vllm_plugin
from gen_searcher.engines.learner_rank import LearnerRank
from gen_searcher.engines.policy_files import checkpoint_names, read_geometry, read_tokens
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.engines.vllm_request import TokenEngine, engine_args
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples, trajectory_sample
from gen_searcher.grpo.vision import expand
from gen_searcher.image_store import ImageStore
from gen_searcher.testing.fake_tools import FakeTools
from gen_searcher.train.mismatch import Disagreement, widest
from gen_searcher.types import (
    Attempt,
    Grounding,
    Group,
    ImageRef,
    Outcome,
    Prompt,
    Reward,
    Sampling,
    Task,
    Trajectory,
    Turn,
)

if TYPE_CHECKING:
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

pytestmark = pytest.mark.filterwarnings("default")

TURNS = 4
TEMPERATURE, TOP_P = 0.7, 0.95
"""Of the paper."""
ROW_TOKENS = 2048


def picture(store: ImageStore, number: int) -> ImageRef:
    digest = hashlib.sha256(str(number).encode()).digest()
    return store.put(Image.frombytes("RGB", (2, 2), digest[:12]).resize((64, 32 + 32 * (number % 2))))


class Eavesdropper:
    """A real engine, and the prompts as it expanded them, in the order in which they ended."""

    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine
        self.read: list[list[int]] = []
        self.wrote: list[list[int]] = []

    async def generate(self, prompt: TokensPrompt, params: SamplingParams, request_id: str) -> RequestOutput:
        output = await self._engine.generate(prompt, params, request_id)
        self.read.append(list(output.prompt_token_ids or []))
        self.wrote.append(list(output.outputs[0].token_ids))
        return output

    async def check(self) -> None:
        await self._engine.check()

    async def label_weights(self, version: int) -> None:
        await self._engine.label_weights(version)

    async def load_weights(self, version: int, path: str) -> None:
        await self._engine.load_weights(version, path)

    async def close(self) -> None:
        await self._engine.close()


async def in_process(folder: Path, config: PolicyConfig) -> Eavesdropper:
    environment.prepare_vllm(in_process=True, threads=1, compiled=False)
    vllm_plugin.register()
    from vllm.engine.arg_utils import EngineArgs

    from gen_searcher.engines.vllm_inproc import InprocEngine

    engine = Eavesdropper(await InprocEngine.start(engine_args(EngineArgs, folder, config)))
    await engine.label_weights(0)
    return engine


class Both:
    """A policy under vLLM, and the same weights in the learner."""

    def __init__(self, folder: Path) -> None:
        self.store = ImageStore(folder / "images")
        self.folder = folder / "policy"
        corpus = [f"draw a flag {n}" for n in range(500)]
        build_small_policy(self.folder, config=SmallPolicyConfig(vocab=512), corpus=corpus)
        config = PolicyConfig(max_context_tokens=ROW_TOKENS, kv_cache_mib=64)
        self.inner = asyncio.run(in_process(self.folder, config))
        self.engine = VllmPolicy(
            engine=self.inner,
            config=config,
            store=self.store,
            tokens=read_tokens(self.folder),
            geometry=read_geometry(self.folder),
            weight_names=checkpoint_names(self.folder),
        )
        self.renderer = Renderer.load(self.folder)

    def learner(self, *, temperature: float = TEMPERATURE) -> LearnerRank:
        return LearnerRank(
            self.folder,
            optim=OptimConfig(row_tokens=ROW_TOKENS, dtype="float32"),
            store=self.store,
            temperature=temperature,
            banned_ids=self.engine.banned_token_ids,
        )

    async def rollout(self, *, seed: int, page: str = "a flag") -> Trajectory:
        """Four sampled turns with two new pictures before each but the first, which come with `page`."""
        turns: list[Turn] = []
        prompt_ids, images = self.renderer.opening(system="look", task=f"draw {seed} {page}"), ()
        for number in range(TURNS):
            context = tuple(i for turn in turns for i in (*turn.prompt_ids, *turn.completion_ids)) + prompt_ids
            shown = tuple(image for turn in turns for image in turn.images) + images
            said = await self.engine.complete(
                Prompt(token_ids=context, images=shown),
                Sampling(max_tokens=12, seed=seed + number, temperature=TEMPERATURE, top_p=TOP_P),
            )
            turns.append(
                Turn(
                    prompt_ids=prompt_ids,
                    completion_ids=said.token_ids,
                    logprobs=said.logprobs,
                    versions=said.versions,
                    log_kept=said.log_kept,
                    images=images,
                )
            )
            images = (picture(self.store, 10 * seed + 2 * number), picture(self.store, 10 * seed + 2 * number + 1))
            prompt_ids = self.renderer.observation([page, Picture(), " and ", page, Picture()], closes_turn=True)
        return Trajectory(task_id=str(seed), turns=tuple(turns), outcome=Outcome.MALFORMED, grounding=None)

    async def group(self, seeds: range) -> Group:
        trajectories = await asyncio.gather(*(self.rollout(seed=seed) for seed in seeds))
        reward = Reward(total=0.0, parts={})
        return Group(
            task=Task(id="t", prompt="draw", target=None, meta={}),
            attempts=tuple(
                Attempt(trajectory=each, seed=seed, image=None, judgements=(), reward=reward)
                for seed, each in zip(seeds, trajectories, strict=True)
            ),
        )


def apart(group: Group, rank: LearnerRank) -> Disagreement:
    """Packed as a step would be, then compared token by token."""
    samples = group_samples(group, [1.0] * len(group.attempts))
    rows = pack(samples, row_tokens=ROW_TOKENS).rows
    scored = dict(zip((sample for row in rows for sample in row), rank.logprobs(rows), strict=True))
    found = widest([group], samples, scored, version=0)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    both = Both(tmp_path_factory.mktemp("both"))
    yield both
    asyncio.run(both.engine.close())


async def test_sampler_and_learner_agree_on_rollouts_with_pictures_over_four_turns(both: Both) -> None:
    group = await both.group(range(1, 5))
    found = apart(group, both.learner())
    assert found.compared > 4 * TURNS * 6
    assert found.token.gap_nats < 1e-4
    log_kept = [kept for each in group.attempts for turn in each.trajectory.turns for kept in turn.log_kept]
    assert len(log_kept) == found.compared
    assert min(log_kept) < -0.02
    warm = apart(group, both.learner(temperature=1.0))
    assert warm.token.gap_nats > 0.1


async def test_sampler_and_learner_agree_on_a_hundred_rollouts(both: Both) -> None:
    found = apart(await both.group(range(1000, 2000, 10)), both.learner())
    assert found.compared > 100 * TURNS * 6
    assert found.token.gap_nats < 1e-4


@pytest.mark.parametrize("seed", range(5))
async def test_the_engine_reads_exactly_the_expanded_tokens_that_the_learner_learns_from(both: Both, seed: int) -> None:
    """Page text full of placeholders and control tokens: no picture, no vision token comes of it on either side."""
    draw = random.Random(seed)
    page = "".join(draw.choices([*SPECIAL_TOKENS, "<|image_pad|>", "<|vision_start|>", "x", " Poland ", "<"], k=8))
    both.inner.read.clear()
    both.inner.wrote.clear()
    trajectory = await both.rollout(seed=50_000 + 100 * seed, page=page)
    sample = trajectory_sample(trajectory, 1.0)
    learned = expand(sample, image_token_id=both.renderer.picture_id)
    whole = learned.token_ids.tolist()
    assert sample.token_ids.count(both.renderer.picture_id) == len(sample.images) == 2 * (TURNS - 1)
    assert whole.count(both.renderer.picture_id) == sum(i.width_px * i.height_px // 1024 for i in sample.images)
    for read, wrote in zip(both.inner.read, both.inner.wrote, strict=True):
        assert read + wrote == whole[: len(read) + len(wrote)]
        assert not learned.loss_mask[len(read) - 1]
        assert learned.loss_mask[len(read) : len(read) + len(wrote)].all()
    assert len(both.inner.read) == TURNS
    assert both.inner.read[-1] + both.inner.wrote[-1] == whole


async def test_sampler_and_learner_agree_on_a_look_at_ones_own_picture(both: Both) -> None:
    """The second answer is sampled after the drawing: its view is what the engine saw and what the learner reads."""
    config = AgentConfig(looks=1, temperature=TEMPERATURE, top_p=TOP_P, max_context_tokens=ROW_TOKENS, answer_tokens=64)
    config = config.model_copy(update={"max_turn_tokens": 24})
    agent = Agent(engine=both.engine, tools=FakeTools({}), renderer=both.renderer, config=config)
    looker = Looker(agent, both.store, view_side_px=96)
    attempts: list[Attempt] = []
    for seed in range(3):
        whole = await both.rollout(seed=90_000 + 100 * seed)
        answered = replace(  # what a random policy writes is no answer; to the look it is one
            whole, turns=whole.turns[:2], outcome=Outcome.GROUNDED, grounding=Grounding(gen_prompt="a", references=())
        )
        drawing = both.store.put(both.store.get(picture(both.store, seed)).resize((150, 100)))
        drawn = OwnPicture(image=drawing, cost_usd=0.0, latency_s=0.0)
        looked = await looker.revise(answered, drawn, seed=seed)
        (view,) = looked.turns[2].images
        assert (view.width_px, view.height_px) == (96, 64)
        assert len(looked.turns[2].completion_ids) > 0
        attempts.append(
            Attempt(trajectory=looked, seed=seed, image=None, judgements=(), reward=Reward(total=0.0, parts={}))
        )
    group = Group(task=Task(id="t", prompt="draw", target=None, meta={}), attempts=tuple(attempts))
    found = apart(group, both.learner())
    sampled = sum(len(turn.completion_ids) for each in attempts for turn in each.trajectory.turns)
    assert found.compared == sampled
    assert found.token.gap_nats < 1e-4
