"""The seam between `VllmPolicy` and vLLM's two engines: PolicyConfig -> engine arguments, Sampling -> parameters.

Both engines take the same prompt and give the same output; only where the scheduler lives differs.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from gen_searcher.engines.policy_files import TOKEN_PX

if TYPE_CHECKING:
    from pathlib import Path

    from vllm.engine.arg_utils import EngineArgs
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

    from gen_searcher.config.policy import PolicyConfig
    from gen_searcher.engines.policy_files import PolicyTokens
    from gen_searcher.types import Sampling

A = TypeVar("A", bound="EngineArgs")

BLOCK_TOKENS = 32
"""Granularity of the prefix cache: the smallest that vLLM takes on CPU, so that little of a shared prefix is redone."""
BAN_BIAS = -100.0
"""The lowest bias vLLM takes: e^-100 is nothing in either number format."""
MIB = 1 << 20


class EngineGone(Exception):
    """The engine is dead; only a new one helps."""


class RequestFailed(Exception):
    """The engine gave one request up and lives."""


class TokenEngine(Protocol):
    """A vLLM engine, wherever its scheduler lives."""

    async def generate(self, prompt: TokensPrompt, params: SamplingParams, request_id: str) -> RequestOutput:
        """Wait for the finished output. Raises EngineGone, or RequestFailed."""
        ...

    async def check(self) -> None:
        """Raise EngineGone if the engine is dead."""
        ...

    async def label_weights(self, version: int) -> None:
        """Name the weights that are loaded."""
        ...

    async def load_weights(self, version: int, path: str) -> None:
        """Swap the weights under the requests in flight. Raises EngineGone."""
        ...

    async def close(self) -> None:
        """Free the model."""
        ...


def engine_args(kind: type[A], folder: Path, config: PolicyConfig) -> A:
    """The arguments of either engine; `kind` is the class of arguments that it takes."""
    from vllm.config import CacheConfig, WeightTransferConfig

    from gen_searcher.engines.vllm_plugin.kept_mass import KEPT_WORKER

    share = CacheConfig.gpu_memory_utilization if config.device_frac is None else config.device_frac
    return kind(
        model=str(folder),
        load_format="safetensors",  # never a pickle
        trust_remote_code=False,
        dtype=config.dtype,
        max_model_len=config.max_context_tokens,
        enforce_eager=not config.compiled,
        max_num_seqs=config.max_concurrent_requests,
        max_num_batched_tokens=max(config.max_batched_tokens, config.max_concurrent_requests),
        enable_prefix_caching=True,
        disable_log_stats=True,
        use_tqdm_on_load=False,
        kv_cache_memory_bytes=None if config.kv_cache_mib is None else config.kv_cache_mib * MIB,
        block_size=BLOCK_TOKENS,
        tensor_parallel_size=config.tensor_parallel,
        limit_mm_per_prompt={"image": config.max_images, "video": 0},
        # Published processors enlarge what has less than 65,536 pixels: flat pictures would get other tokens than we count.
        mm_processor_kwargs={"images_kwargs": {"min_pixels": TOKEN_PX**2}},
        mm_processor_cache_gb=0.0,  # the cache loses pictures when requests are frozen or cancelled
        logprobs_mode="processed_logprobs",
        worker_extension_cls=KEPT_WORKER,
        weight_transfer_config=WeightTransferConfig(backend="file"),
        gpu_memory_utilization=share,
    )


def sampling_params(sampling: Sampling, *, tokens: PolicyTokens, max_tokens: int) -> SamplingParams:
    """The log-probability of each sampled token and its `log_kept` come back; its text does not."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        max_tokens=max_tokens,
        seed=sampling.seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k or 0,
        min_p=sampling.min_p,
        logprobs=1,  # the second entry is `log_kept`, see vllm_plugin/kept_mass.py
        stop_token_ids=list(tokens.stop_ids),
        logit_bias=dict.fromkeys(tokens.banned_ids, BAN_BIAS),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
