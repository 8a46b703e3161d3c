"""The learner sees what the sampler saw: real vLLM rollouts against the learner's own forward pass."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.agent.render import Picture, Renderer
from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.deepspeed_learner import DeepspeedRank
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples
from gen_searcher.image_store import ImageStore
from gen_searcher.train.mismatch import Disagreement, widest
from gen_searcher.types import Attempt, Group, ImageRef, Outcome, Prompt, Reward, Sampling, Task, Trajectory, Turn

pytestmark = pytest.mark.filterwarnings("default")

TURNS = 4
TEMPERATURE, TOP_P = 0.7, 0.95
"""Of the paper."""
ROW_TOKENS = 1024


def picture(store: ImageStore, number: int) -> ImageRef:
    digest = hashlib.sha256(str(number).encode()).digest()
    return store.put(Image.frombytes("RGB", (2, 2), digest[:12]).resize((64, 32 + 32 * (number % 2))))


class Both:
    """A policy under vLLM, and the same weights in the learner."""

    def __init__(self, folder: Path) -> None:
        self.store = ImageStore(folder / "images")
        self.folder = folder / "policy"
        corpus = [f"draw a flag {n}" for n in range(500)]
        build_small_policy(self.folder, config=SmallPolicyConfig(vocab=512), corpus=corpus)
        config = PolicyConfig(max_context_tokens=ROW_TOKENS, kv_cache_mib=64)
        self.engine = asyncio.run(VllmPolicy.start(self.folder, config=config, store=self.store))
        self.renderer = Renderer.load(self.folder)

    def learner(self, *, temperature: float = TEMPERATURE) -> DeepspeedRank:
        return DeepspeedRank(
            self.folder,
            optim=OptimConfig(row_tokens=ROW_TOKENS),
            store=self.store,
            temperature=temperature,
            banned_ids=self.engine.banned_token_ids,
        )

    async def rollout(self, *, seed: int) -> Trajectory:
        """Four sampled turns with two new pictures before each but the first."""
        turns: list[Turn] = []
        prompt_ids, images = self.renderer.opening(system="look", task=f"draw {seed}"), ()
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
            prompt_ids = self.renderer.observation(["a flag", Picture(), " and ", Picture()], closes_turn=True)
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


def apart(group: Group, rank: DeepspeedRank) -> Disagreement:
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


@pytest.mark.slow
async def test_sampler_and_learner_agree_on_a_hundred_rollouts(both: Both) -> None:
    found = apart(await both.group(range(1000, 2000, 10)), both.learner())
    assert found.compared > 100 * TURNS * 6
    assert found.token.gap_nats < 1e-4
