"""A policy engine whose completions are spans: counts and numbers, never what was read or written."""

from __future__ import annotations

from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import span
from gen_searcher.protocols import PolicyEngine
from gen_searcher.types import Completion, Prompt, Sampling, WeightSource

PROVIDER = "vllm"


class TracedEngine:
    """A `PolicyEngine` around another one."""

    def __init__(self, engine: PolicyEngine) -> None:
        """`engine` samples."""
        self._engine = engine

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """See `PolicyEngine.complete`."""
        about = {
            names.OPERATION: "chat",
            names.PROVIDER: PROVIDER,
            names.SEED: sampling.seed,
            names.TEMPERATURE: sampling.temperature,
            names.MAX_TOKENS: sampling.max_tokens,
            names.INPUT_TOKENS: len(prompt.token_ids),
            names.IMAGES: len(prompt.images),
        }
        with span("chat", about) as this:
            said = await self._engine.complete(prompt, sampling)
            this.note(
                {
                    names.OUTPUT_TOKENS: len(said.token_ids),
                    names.FINISH: str(said.finish),
                    names.VERSION: said.versions[-1] if said.versions else None,
                }
            )
        return said

    async def load_weights(self, version: int, source: WeightSource) -> None:
        """See `PolicyEngine.load_weights`."""
        await self._engine.load_weights(version, source)
