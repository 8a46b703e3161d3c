"""vLLM's V1 engine inside this process: requests -> one step thread, continuous batching -> asyncio futures.

The engine, its scheduler and its worker live in one thread of this process; nothing is spawned. Every call to the
engine is a job of that thread, so jobs never overlap and a weight update is one job between two steps. While
requests are waiting, a task of the caller's event loop keeps submitting bursts of steps.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gen_searcher.engines.vllm_request import EngineGone

if TYPE_CHECKING:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine

T = TypeVar("T")

BURST_S = 0.01
"""How long the step thread runs before it looks for new requests: long against a thread switch, short against a turn."""


class InprocEngine:
    """A `TokenEngine` without child processes. Use it from one event loop at a time."""

    def __init__(self, *, engine: LLMEngine, thread: ThreadPoolExecutor) -> None:
        """Use `start`. `thread` has one worker, which built `engine`."""
        self._engine = engine
        self._thread = thread
        self._waiting: dict[str, asyncio.Future[RequestOutput]] = {}
        self._driver: asyncio.Task[None] | None = None
        self._death: BaseException | None = None

    @classmethod
    async def start(cls, arguments: EngineArgs) -> InprocEngine:
        """Load the model. The environment must be prepared (`engines/environment.py`)."""
        from vllm.v1.engine.llm_engine import LLMEngine

        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vllm-step")
        loop = asyncio.get_running_loop()
        engine = await loop.run_in_executor(thread, lambda: LLMEngine.from_engine_args(arguments))
        await loop.run_in_executor(thread, lambda: engine.collective_rpc("record_kept_mass"))
        return cls(engine=engine, thread=thread)

    async def generate(self, prompt: TokensPrompt, params: SamplingParams, request_id: str) -> RequestOutput:
        """Wait for the finished output; the driver task resolves it. Raises EngineGone."""
        finished: asyncio.Future[RequestOutput] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = finished
        try:
            await self._job(lambda: self._add(request_id, prompt, params))
            self._drive()
            return await finished
        finally:
            if self._waiting.pop(request_id, None) is not None and self._death is None:
                self._thread.submit(self._engine.abort_request, [request_id])

    async def check(self) -> None:
        """Raise EngineGone if the engine is dead: it failed in a step, or was closed."""
        if self._death is not None:
            raise EngineGone(f"the engine is dead: {self._death!r}") from self._death

    async def label_weights(self, version: int) -> None:
        """Name the weights that are loaded."""
        await self._job(lambda: self._engine.set_weight_version(str(version)))

    async def load_weights(self, version: int, path: str) -> None:
        """Swap the weights between two steps; requests in flight go on under the new ones.

        A swap that fails leaves a model of no version, so it is the engine's death. Raises EngineGone.
        """
        swap = asyncio.ensure_future(self._job(lambda: self._swap(version, path)))
        await asyncio.wait({swap})
        error = swap.exception()
        if error is not None:
            self._fail_all(error)
            raise EngineGone(f"loading {path} failed: {error!r}") from error

    async def close(self) -> None:
        """Stop the thread and free the model. Whatever still waits raises EngineGone."""
        self._fail_all(EngineGone("the engine was closed"))
        await asyncio.get_running_loop().run_in_executor(self._thread, self._shutdown)
        self._thread.shutdown(wait=True)

    async def _job(self, job: Callable[[], T]) -> T:
        await self.check()
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    def _drive(self) -> None:
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._step_while_waiting())
            self._driver.add_done_callback(self._on_driver_done)

    async def _step_while_waiting(self) -> None:
        """Runs until no request waits; a caller of `generate` starts it again."""
        while self._waiting:
            for output in await self._job(self._burst):
                finished = self._waiting.pop(output.request_id, None)
                if finished is not None and not finished.done():
                    finished.set_result(output)

    def _on_driver_done(self, driver: asyncio.Task[None]) -> None:
        if driver.cancelled():
            return
        error = driver.exception()
        if error is not None:
            self._fail_all(error)

    def _fail_all(self, error: BaseException) -> None:
        self._death = error
        waiting, self._waiting = self._waiting, {}
        for finished in waiting.values():
            if not finished.done():
                gone = EngineGone(f"the engine died: {error!r}")
                gone.__cause__ = error
                finished.set_exception(gone)

    def _add(self, request_id: str, prompt: TokensPrompt, params: SamplingParams) -> None:
        """Expand the placeholders and queue the request; in the step thread."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        (rendered,) = self._engine.renderer.render_cmpl([parse_model_prompt(self._engine.model_config, prompt)])
        self._engine.add_request(request_id, rendered, params)

    def _burst(self) -> list[RequestOutput]:
        """Step until something finished or the burst is over; in the step thread."""
        from vllm.outputs import RequestOutput

        until_s = time.monotonic() + BURST_S
        while self._engine.has_unfinished_requests():
            done = [o for o in self._engine.step() if isinstance(o, RequestOutput) and o.finished]
            if done or time.monotonic() > until_s:
                return done
        return []

    def _swap(self, version: int, path: str) -> None:
        """Run vLLM's own update lifecycle: freeze and forget caches -> start, update, finish -> go on; step thread."""
        from vllm.v1.engine.core_client import InprocClient

        engine = self._engine
        client = engine.engine_core
        if not isinstance(client, InprocClient):
            raise TypeError(f"{type(client).__name__}: the engine was not built in this process")
        core = client.engine_core
        core.pause_scheduler("keep", True)
        engine.collective_rpc("start_weight_update")
        engine.collective_rpc("update_weights", kwargs={"update_info": {"path": path}})
        engine.collective_rpc("finish_weight_update")
        engine.set_weight_version(str(version))
        core.resume_scheduler()

    def _shutdown(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        cleanup_dist_env_and_memory()
