"""How a completion fares when the engine drops it, where the engine is a scripted one; and what an engine is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from gen_searcher.config.policy import PolicyConfig
from gen_searcher.engines import environment
from gen_searcher.engines.policy_files import PolicyTokens, VisionGeometry
from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.engines.vllm_request import EngineGone, RequestFailed, engine_args
from gen_searcher.errors import EngineDead, StopRun, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Finish, Prompt, Sampling

if TYPE_CHECKING:
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

pytestmark = pytest.mark.filterwarnings("default")  # vLLM and torch deprecate things while they are imported


class ScriptedEngine:
    """Ends each request with the next reason of its script, or raises it."""

    def __init__(self, reasons: Sequence[str | Exception]) -> None:
        self.reasons = list(reasons)
        self.seeds: list[int | None] = []

    async def generate(self, prompt: TokensPrompt, params: SamplingParams, request_id: str) -> RequestOutput:
        from vllm.logprobs import Logprob
        from vllm.outputs import CompletionOutput, RequestOutput, WeightVersionSpan

        from gen_searcher.engines.vllm_plugin.kept_mass import KEPT_ID

        self.seeds.append(params.seed)
        await self.check()
        if self.reasons[0] == "failed":
            raise RequestFailed("the engine gave it up")
        reason = self.reasons.pop(0)
        if isinstance(reason, Exception):
            raise reason
        token_ids = [] if reason == "error" else [5, 6]
        output = CompletionOutput(
            index=0,
            text="",
            token_ids=token_ids,
            cumulative_logprob=None,
            logprobs=[{token: Logprob(-0.5), KEPT_ID: Logprob(-0.05)} for token in token_ids],
            finish_reason=reason,
            weight_versions=[WeightVersionSpan(version="3", start=0, end=len(token_ids))],
        )
        ids = list(prompt["prompt_token_ids"])
        return RequestOutput(request_id, None, ids, None, [output], finished=True)

    async def check(self) -> None:
        if not self.reasons:
            raise EngineGone("nothing is left to say")

    async def label_weights(self, version: int) -> None:
        raise NotImplementedError

    async def load_weights(self, version: int, path: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def policy(engine: ScriptedEngine, folder: Path) -> VllmPolicy:
    ensure_torchvision()
    return VllmPolicy(
        engine=engine,
        config=PolicyConfig(retries=2),
        store=ImageStore(folder),
        tokens=PolicyTokens(stop_ids=(1,), banned_ids=(2, 3), image_pad_id=2, video_pad_id=3),
        geometry=VisionGeometry(token_px=32, min_area_px=1024, max_area_px=1_000_000),
        weight_names=frozenset(),
    )


async def test_a_dropped_request_is_sampled_again_with_its_seed(tmp_path: Path) -> None:
    engine = ScriptedEngine(["error", "abort", "stop"])
    completion = await policy(engine, tmp_path).complete(
        Prompt(token_ids=(9,), images=()), Sampling(max_tokens=4, seed=11)
    )
    assert engine.seeds == [11, 11, 11]
    assert (completion.token_ids, completion.logprobs) == ((5, 6), (-0.5, -0.5))
    assert completion.log_kept == (-0.05, -0.05)
    assert (completion.versions, completion.finish) == ((3, 3), Finish.STOP)


async def test_a_request_that_is_dropped_again_and_again_is_the_worlds_fault(tmp_path: Path) -> None:
    engine = ScriptedEngine(["error"] * 3)
    with pytest.raises(WorldError, match="policy: vLLM ended a completion 3 times with 'error'"):
        await policy(engine, tmp_path).complete(Prompt(token_ids=(9,), images=()), Sampling(max_tokens=4, seed=11))
    assert engine.reasons == []


async def test_a_request_that_the_engine_refuses_ends_the_run_and_says_what_was_asked(tmp_path: Path) -> None:
    from vllm.exceptions import VLLMValidationError

    store = ImageStore(tmp_path)
    pictures = tuple(store.put(Image.new("RGB", (64, 64), (shade, 0, 0))) for shade in range(2))
    engine = ScriptedEngine([VLLMValidationError("At most 1 image(s) may be provided in one prompt.")])
    asked = Prompt(token_ids=(9, 2, 2), images=pictures)
    with pytest.raises(StopRun) as caught:
        await policy(engine, tmp_path).complete(asked, Sampling(max_tokens=4, seed=11))
    assert str(caught.value).startswith(
        "vLLM refuses to sample 4 tokens after 9 with 2 pictures: At most 1 image(s) may be provided in one prompt."
    )
    assert "policy.max_context_tokens=4096 and policy.max_images=32" in str(caught.value)


async def test_only_the_death_of_an_engine_is_told_as_its_death(tmp_path: Path) -> None:
    asked = Prompt(token_ids=(9,), images=())
    alive, dead = policy(ScriptedEngine(["failed"]), tmp_path), policy(ScriptedEngine([]), tmp_path)
    await alive.check()
    with pytest.raises(WorldError, match="policy: the engine gave it up") as failed:
        await alive.complete(asked, Sampling(max_tokens=4, seed=11))
    assert not isinstance(failed.value, EngineDead)
    with pytest.raises(EngineDead, match="policy: nothing is left to say"):
        await dead.complete(asked, Sampling(max_tokens=4, seed=11))
    with pytest.raises(EngineDead, match="policy: nothing is left to say"):
        await dead.check()


def test_an_engine_is_told_its_share_of_a_gpu_only_when_one_is_set() -> None:
    environment.prepare_vllm(in_process=True, threads=1, compiled=False)
    from vllm.engine.arg_utils import EngineArgs

    shared = engine_args(EngineArgs, Path("policy"), PolicyConfig(device_frac=0.45))
    alone = engine_args(EngineArgs, Path("policy"), PolicyConfig())
    assert shared.gpu_memory_utilization == 0.45
    assert alone.gpu_memory_utilization == EngineArgs(model="policy").gpu_memory_utilization
