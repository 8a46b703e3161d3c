"""A `PolicyEngine` on vLLM: Prompt (unexpanded ids, pictures by reference) -> Completion (ids, log-probs, versions)."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import functools
import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from gen_searcher.engines import environment
from gen_searcher.engines.policy_files import (
    PolicyTokens,
    VisionGeometry,
    check_policy,
    checkpoint_names,
    read_geometry,
    read_tokens,
    tensor_names,
)
from gen_searcher.engines.vllm_request import EngineGone, RequestFailed, TokenEngine, engine_args, sampling_params
from gen_searcher.errors import EngineDead, StopRun, WorldError
from gen_searcher.types import Completion, Finish

if TYPE_CHECKING:
    from PIL.Image import Image
    from vllm.inputs import TokensPrompt
    from vllm.outputs import CompletionOutput

    from gen_searcher.config.policy import PolicyConfig
    from gen_searcher.image_store import ImageStore
    from gen_searcher.types import Prompt, Sampling, WeightSource

logger = logging.getLogger(__name__)

STAGE = "policy"
DECODED_PICTURES = 128
"""Pictures kept decoded: every turn of a conversation shows all its earlier ones again."""
FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH}


class VllmPolicy:
    """Samples completions and takes new weights while it does."""

    def __init__(
        self,
        *,
        engine: TokenEngine,
        config: PolicyConfig,
        store: ImageStore,
        tokens: PolicyTokens,
        geometry: VisionGeometry,
        weight_names: frozenset[str],
    ) -> None:
        """Use `start`, unless the engine is a test's own."""
        self._engine = engine
        self._config = config
        self._load: functools._lru_cache_wrapper[Image] = functools.lru_cache(DECODED_PICTURES)(store.get)  # pyright: ignore[reportPrivateUsage]
        self._tokens = tokens
        self._geometry = geometry
        self._weight_names = weight_names
        self._request_numbers = itertools.count()

    @classmethod
    async def start(cls, folder: Path, *, config: PolicyConfig, store: ImageStore, version: int = 0) -> VllmPolicy:
        """Load the policy of a Hugging Face folder; its tokens count as sampled by `version` until `load_weights`."""
        check_policy(folder)
        in_process = config.engine == "inprocess"
        environment.prepare_vllm(in_process=in_process, threads=config.threads, compiled=config.compiled)
        engine = await (_start_inprocess if in_process else _start_async)(folder, config)
        await engine.label_weights(version)
        return cls(
            engine=engine,
            config=config,
            store=store,
            tokens=read_tokens(folder),
            geometry=read_geometry(folder),
            weight_names=checkpoint_names(folder),
        )

    @property
    def banned_token_ids(self) -> tuple[int, ...]:
        """Tokens without probability while sampling; the learner masks the same logits."""
        return self._tokens.banned_ids

    def context_tokens(self, prompt: Prompt) -> int:
        """Length of the context with its pictures expanded: what counts against `max_context_tokens`."""
        return self._geometry.expanded_length(prompt.token_ids, prompt.images)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Sample one completion.

        `max_tokens` is cut to what the context has room for; a completion that ends there has finish `length`.

        Raises:
            ValueError: The prompt leaves no room, or its placeholders and pictures do not match.
            EngineDead: The engine died.
            WorldError: It dropped the request again and again, or gave it up.
            StopRun: It refuses the request, and would refuse it again.
        """
        from vllm.exceptions import VLLMClientError

        self._check_placeholders(prompt)
        room = self._config.max_context_tokens - self.context_tokens(prompt)
        if room <= 0:
            raise ValueError(
                f"the prompt takes {self.context_tokens(prompt)} tokens of a context of {self._config.max_context_tokens}: "
                "no room for a completion"
            )
        params = sampling_params(sampling, tokens=self._tokens, max_tokens=min(sampling.max_tokens, room))
        request = self._request(prompt)
        reason = None
        for _ in range(self._config.retries + 1):
            request_id = f"completion-{next(self._request_numbers)}"
            try:
                output = (await self._engine.generate(request, params, request_id)).outputs[0]
            except EngineGone as error:
                raise EngineDead(str(error), stage=STAGE) from error
            except RequestFailed as error:
                raise WorldError(str(error), stage=STAGE) from error
            except VLLMClientError as error:
                raise StopRun(self._refused(prompt, params.max_tokens, error)) from error
            reason = output.finish_reason
            if reason in FINISHES:
                return _completion(output)
            logger.warning("vLLM ended %s with %r; sampling it again", request_id, reason)
        raise WorldError(f"vLLM ended a completion {self._config.retries + 1} times with {reason!r}", stage=STAGE)

    async def load_weights(self, version: int, source: WeightSource) -> None:
        """Return once new tokens come from `version`. Completions in flight go on under the new weights.

        Raises:
            ValueError: The file does not hold exactly this model's tensors; the old weights stay.
            EngineDead: The engine died, or the swap failed, which is its death.
        """
        found = tensor_names(Path(source.path))
        if found != self._weight_names:
            missing, surplus = sorted(self._weight_names - found), sorted(found - self._weight_names)
            raise ValueError(f"{source.path} is not this policy: missing {missing[:3]}, surplus {surplus[:3]}")
        try:
            await self._engine.load_weights(version, source.path)
        except EngineGone as error:
            raise EngineDead(str(error), stage=STAGE) from error

    async def check(self) -> None:
        """Raise EngineDead if the engine is dead: a worker that asks for nothing hears of it no other way."""
        try:
            await self._engine.check()
        except EngineGone as error:
            raise EngineDead(str(error), stage=STAGE) from error

    async def close(self) -> None:
        """Free the model. Completions in flight raise EngineDead."""
        await self._engine.close()

    def _check_placeholders(self, prompt: Prompt) -> None:
        pads = prompt.token_ids.count(self._tokens.image_pad_id)
        if pads != len(prompt.images):
            raise ValueError(f"{pads} image placeholders for {len(prompt.images)} pictures; ids must be unexpanded")
        if self._tokens.video_pad_id in prompt.token_ids:
            raise ValueError("the prompt holds a video placeholder; only pictures are shown to the policy")

    def _refused(self, prompt: Prompt, max_tokens: int | None, error: Exception) -> str:
        cfg = self._config
        return (
            f"vLLM refuses to sample {max_tokens} tokens after {self.context_tokens(prompt)} with {len(prompt.images)} "
            f"pictures: {error}. The engine was started with policy.max_context_tokens={cfg.max_context_tokens} and "
            f"policy.max_images={cfg.max_images}, and the same request would be refused again: set what it asks for higher"
        )

    def _request(self, prompt: Prompt) -> TokensPrompt:
        from vllm.inputs import TokensPrompt

        if not prompt.images:
            return TokensPrompt(prompt_token_ids=list(prompt.token_ids))
        return TokensPrompt(
            prompt_token_ids=list(prompt.token_ids),
            multi_modal_data={"image": [self._load(image) for image in prompt.images]},
            multi_modal_uuids={"image": [image.sha256 for image in prompt.images]},
        )


def _completion(output: CompletionOutput) -> Completion:
    from gen_searcher.engines.vllm_plugin.kept_mass import KEPT_ID

    token_ids = tuple(output.token_ids)
    logprobs = output.logprobs or []
    versions = [int(span.version) for span in output.weight_versions or [] for _ in range(span.start, span.end)]
    if not len(token_ids) == len(logprobs) == len(versions):
        raise RuntimeError(f"vLLM gave {len(token_ids)} tokens, {len(logprobs)} log-probs, {len(versions)} versions")
    return Completion(
        token_ids=token_ids,
        logprobs=tuple(
            position[token_id].logprob for token_id, position in zip(token_ids, logprobs, strict=True) if position
        ),
        log_kept=tuple(position[KEPT_ID].logprob for position in logprobs if position),
        versions=tuple(versions),
        finish=FINISHES[output.finish_reason or ""],
    )


async def _start_inprocess(folder: Path, config: PolicyConfig) -> TokenEngine:
    _register_plugin(config.threads)
    from vllm.engine.arg_utils import EngineArgs

    from gen_searcher.engines.vllm_inproc import InprocEngine

    return await InprocEngine.start(engine_args(EngineArgs, folder, config))


async def _start_async(folder: Path, config: PolicyConfig) -> TokenEngine:
    _register_plugin(config.threads)
    from vllm.engine.arg_utils import AsyncEngineArgs

    from gen_searcher.engines.vllm_async import AsyncEngine

    return await AsyncEngine.start(engine_args(AsyncEngineArgs, folder, config))


def _register_plugin(threads: int) -> None:
    """Run the plug-in here too: child processes find it by its entry points, this process must not depend on them."""
    import torch

    from gen_searcher.engines import vllm_plugin

    torch.set_num_threads(threads)
    vllm_plugin.register()
