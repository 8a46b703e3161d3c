"""What we add to vLLM: the scripted policy, tied heads after an update, and that its entry points are found."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines import environment, vllm_plugin
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_request import engine_args

pytestmark = pytest.mark.filterwarnings("default")  # vLLM and torch deprecate things while they are imported

CONFIG = PolicyConfig(
    small=SmallPolicyConfig(
        hidden=64, layers=3, heads=2, vocab=512, initializer_range=0.2, tied_embeddings=True, can_copy=False
    ),
    max_context_tokens=512,
    kv_cache_mib=32,
)


async def test_forced_tokens_are_scored_by_the_model_also_after_an_update_of_a_tied_head(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    build_small_policy(folder, config=CONFIG.small, corpus=["a flag of Poland"])
    environment.prepare_vllm(in_process=True, threads=1, compiled=False)
    vllm_plugin.register()
    from transformers import Qwen3VLForConditionalGeneration
    from vllm.engine.arg_utils import EngineArgs
    from vllm.inputs import TokensPrompt
    from vllm.sampling_params import SamplingParams

    from gen_searcher.engines.vllm_inproc import InprocEngine
    from gen_searcher.engines.vllm_plugin.forced import FORCED_KEY, FORCED_TOKENS

    arguments = engine_args(EngineArgs, folder, CONFIG)
    engine = await InprocEngine.start(
        replace(arguments, logprobs_mode="raw_logprobs", logits_processors=[FORCED_TOKENS])
    )
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    prompt, script = list(range(65, 90)), [100, 7, 7, 42, 255]

    async def scored() -> tuple[list[int], list[float]]:
        params = SamplingParams(
            max_tokens=len(script), logprobs=0, temperature=1.0, detokenize=False, extra_args={FORCED_KEY: script}
        )
        output = (await engine.generate(TokensPrompt(prompt_token_ids=prompt), params, "forced")).outputs[0]
        logprobs = [
            position[token].logprob
            for token, position in zip(output.token_ids, output.logprobs or [], strict=True)
            if position
        ]
        return list(output.token_ids), logprobs

    def expected() -> list[float]:
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([prompt + script])).logits[0].log_softmax(-1)
        return [float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(script)]

    token_ids, logprobs = await scored()
    before = expected()
    assert token_ids == script
    assert logprobs == pytest.approx(before, abs=1e-4)

    updated = {name: tensor * 1.1 for name, tensor in load_file(folder / "model.safetensors").items()}
    assert "lm_head.weight" not in updated
    save_file(updated, tmp_path / "v1.safetensors")
    model.load_state_dict(updated, strict=False)
    model.tie_weights()
    await engine.load_weights(1, str(tmp_path / "v1.safetensors"))
    assert (await scored())[1] == pytest.approx(expected(), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(before, expected(), strict=True)) > 1e-2
    await engine.close()


def test_the_entry_points_of_the_installed_package_lead_to_the_plugin() -> None:
    plugins = {plugin.name: plugin for plugin in entry_points(group="vllm.general_plugins")}
    hooks = {plugin.name: plugin for plugin in entry_points(group="vllm.platform_plugins")}
    assert plugins["gen_searcher"].load() is vllm_plugin.register
    assert hooks["gen_searcher_compat"].load()() is None
