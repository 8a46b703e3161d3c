"""vLLM's AsyncLLM as a `TokenEngine`: front end here, scheduler and workers in processes of their own."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gen_searcher.engines.vllm_request import EngineGone, RequestFailed

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

DEATH_POLL_S = 0.2
"""How often to look whether the engine died while it swaps weights: a swap gets no answer then, not even an error."""


class AsyncEngine:
    """A `TokenEngine` over child processes: for large models and GPUs."""

    def __init__(self, engine: AsyncLLM) -> None:
        """Use `start`."""
        self._engine = engine
        self._death: BaseException | None = None
        self._updating = asyncio.Lock()

    @classmethod
    async def start(cls, arguments: AsyncEngineArgs) -> AsyncEngine:
        """Spawn the processes and load the model. The environment must be prepared (`engines/environment.py`)."""
        from vllm.v1.engine.async_llm import AsyncLLM

        engine = AsyncLLM.from_engine_args(arguments)
        await engine.collective_rpc("record_kept_mass")
        await engine.get_supported_tasks()  # kept: the first request would ask, and a dead engine never answers
        return cls(engine)

    async def generate(self, prompt: TokensPrompt, params: SamplingParams, request_id: str) -> RequestOutput:
        """Wait for the finished output. Raises EngineGone, or RequestFailed."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        await self.check()
        renderer = self._engine.renderer
        parsed = parse_model_prompt(self._engine.model_config, prompt)
        try:
            (rendered,) = await renderer.render_cmpl_async([parsed], renderer.default_cmpl_tok_params)
            async for output in self._engine.generate(rendered, params, request_id):
                if output.finished:
                    return output
        except EngineDeadError as error:
            raise EngineGone(f"the engine died: {error!r}") from error
        except EngineGenerateError as error:
            if self._engine.errored:
                raise EngineGone(f"the engine died: {error!r}: {error.__cause__!r}") from error
            raise RequestFailed(f"the engine gave {request_id} up: {error.__cause__!r}") from error
        raise RequestFailed(f"the engine gave no final output for {request_id}")

    async def check(self) -> None:
        """Raise EngineGone if one of the processes has ended, or the last swap of weights failed."""
        if self._death is not None:
            raise EngineGone(f"the engine is dead: {self._death!r}") from self._death
        if self._engine.errored:
            raise EngineGone("the engine is dead: one of its processes has ended; the log says more")

    async def label_weights(self, version: int) -> None:
        """Name the weights that are loaded."""
        await self._engine.update_weight_version(str(version))

    async def load_weights(self, version: int, path: str) -> None:
        """Swap the weights between two steps; requests in flight go on under the new ones.

        A swap that fails leaves a model of no version, so it is the engine's death. Raises EngineGone.
        """
        async with self._updating:
            swap = asyncio.ensure_future(self._swap(version, path))
            while not swap.done() and not self._engine.errored:
                await asyncio.wait({swap}, timeout=DEATH_POLL_S)
            error = swap.exception() if swap.done() else EngineGone("one of the engine's processes has ended")
            if error is not None:
                swap.cancel()
                self._death = error
                await self.close()
                raise EngineGone(f"loading {path} failed: {error!r}") from error

    async def _swap(self, version: int, path: str) -> None:
        """Run vLLM's own update lifecycle: freeze and forget caches -> start, update, finish -> go on."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        engine = self._engine
        await engine.pause_generation(mode="keep", clear_cache=True)
        await engine.start_weight_update()
        await engine.update_weights(WeightTransferUpdateRequest(update_info={"path": path}))
        await engine.finish_weight_update(str(version))
        await engine.resume_generation()

    async def close(self) -> None:
        """Stop the processes."""
        await asyncio.to_thread(self._engine.shutdown)
