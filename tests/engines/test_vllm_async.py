"""vLLM in its own three processes: the same answers as in this one."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.errors import WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Completion, Prompt, Sampling, WeightSource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # vLLM and torch deprecate things while they are imported
]

CONFIG = PolicyConfig(
    small=SmallPolicyConfig(
        hidden=64, layers=3, heads=2, vocab=512, initializer_range=0.2, tied_embeddings=False, can_copy=False
    ),
    max_context_tokens=512,
    kv_cache_mib=32,
)
PROMPT = Prompt(token_ids=tuple(range(65, 90)), images=())


async def sampled(policy: VllmPolicy) -> Completion:
    return await policy.complete(PROMPT, Sampling(max_tokens=20, seed=3, temperature=0.7, top_p=0.95))


async def test_child_processes_answer_like_this_one_before_and_after_new_weights(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    build_small_policy(folder, config=CONFIG.small, corpus=["a flag of Poland"])
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor * 1.1 for name, tensor in weights.items()}, tmp_path / "v1.safetensors")
    answers: list[list[Completion]] = []
    for engine in ("inprocess", "async"):
        config = CONFIG.model_copy(update={"engine": engine})
        policy = await VllmPolicy.start(folder, config=config, store=ImageStore(tmp_path / "images"))
        answers.append([await sampled(policy)])
        await policy.load_weights(1, WeightSource(path=str(tmp_path / "v1.safetensors")))
        answers[-1].append(await sampled(policy))
        if engine == "async":
            (tmp_path / "broken.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1000])
            with pytest.raises(WorldError, match=r"policy: loading .*broken\.safetensors failed"):
                await policy.load_weights(2, WeightSource(path=str(tmp_path / "broken.safetensors")))
            with pytest.raises(WorldError, match="policy: the engine is dead"):
                await sampled(policy)
        else:
            await policy.close()
        del policy
        gc.collect()  # vLLM leaves a socket context to the collector, which complains: here, not when pytest ends
    for here, there in zip(*answers, strict=True):
        assert here.token_ids == there.token_ids
        assert here.logprobs == pytest.approx(there.logprobs, abs=1e-5)
        assert here.log_kept == pytest.approx(there.log_kept, abs=1e-5)
        assert min(there.log_kept) < -0.01
        assert here.versions == there.versions
    assert {version for completion in answers[0] for version in completion.versions} == {0, 1}
