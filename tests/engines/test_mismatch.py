"""The learner sees what the sampler saw: real vLLM rollouts against the learner's own forward pass."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.agent.render import Picture, Renderer
from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.learner_rank import LearnerRank
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Outcome, Prompt, Sampling, Trajectory, Turn

pytestmark = pytest.mark.filterwarnings("default")

TURNS = 4
TEMPERATURE = 0.7


def picture(store: ImageStore, number: int) -> ImageRef:
    digest = hashlib.sha256(str(number).encode()).digest()
    return store.put(Image.frombytes("RGB", (2, 2), digest[:12]).resize((64, 32 + 32 * (number % 2))))


async def rollout(engine: VllmPolicy, renderer: Renderer, store: ImageStore, *, seed: int) -> Trajectory:
    """Four sampled turns with two new pictures before each but the first."""
    turns: list[Turn] = []
    prompt_ids, images = renderer.opening(system="look", task=f"draw {seed}"), ()
    for number in range(TURNS):
        context = tuple(i for turn in turns for i in (*turn.prompt_ids, *turn.completion_ids)) + prompt_ids
        shown = tuple(image for turn in turns for image in turn.images) + images
        said = await engine.complete(
            Prompt(token_ids=context, images=shown),
            Sampling(max_tokens=12, seed=seed + number, temperature=TEMPERATURE),
        )
        turns.append(
            Turn(
                prompt_ids=prompt_ids,
                completion_ids=said.token_ids,
                logprobs=said.logprobs,
                versions=said.versions,
                images=images,
            )
        )
        images = (picture(store, 10 * seed + 2 * number), picture(store, 10 * seed + 2 * number + 1))
        prompt_ids = renderer.observation(["a flag", Picture(), " and ", Picture()], closes_turn=True)
    return Trajectory(task_id=str(seed), turns=tuple(turns), outcome=Outcome.MALFORMED, grounding=None)


async def test_sampler_and_learner_agree_on_rollouts_with_pictures_over_four_turns(tmp_path: Path) -> None:
    folder, store = tmp_path / "policy", ImageStore(tmp_path / "images")
    build_small_policy(folder, config=SmallPolicyConfig(vocab=512), corpus=[f"draw a flag {n}" for n in range(500)])
    engine = await VllmPolicy.start(folder, config=PolicyConfig(max_context_tokens=1024, kv_cache_mib=64), store=store)
    try:
        renderer = Renderer.load(folder)
        trajectories = [await rollout(engine, renderer, store, seed=seed) for seed in (1, 2, 3)]
        banned = engine.banned_token_ids
    finally:
        await engine.close()
    rank = LearnerRank(
        folder,
        optim=OptimConfig(row_tokens=1024, dtype="float32"),
        store=store,
        temperature=TEMPERATURE,
        banned_ids=banned,
    )
    samples = [trajectory_sample(trajectory, 1.0) for trajectory in trajectories]
    learned = rank.logprobs([tuple(samples)])
    gaps = [
        abs(mine - sampled)
        for sample, mine_of_sample in zip(samples, learned, strict=True)
        for mine, sampled in zip(
            mine_of_sample, [p for p, m in zip(sample.logprobs, sample.loss_mask, strict=True) if m], strict=True
        )
    ]
    assert len(gaps) > 3 * TURNS * 6
    assert max(gaps) < 1e-3
