"""A completion is a span with counts; what was read and written stays out of it."""

from __future__ import annotations

import pytest

from gen_searcher.agent.traced import TracedEngine
from gen_searcher.errors import WorldError
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.types import Completion, Finish, ImageRef, Prompt, Sampling, WeightSource
from tests.metrics.traces.recorder import recorded

PROMPT = Prompt(token_ids=(11, 12, 13), images=(ImageRef(sha256="ab", width_px=1, height_px=1),))
SAMPLING = Sampling(max_tokens=7, seed=21, temperature=0.5)
SAID = Completion(token_ids=(91, 92), logprobs=(-0.5, -0.25), versions=(3, 4), finish=Finish.LENGTH)


class Says:
    def __init__(self) -> None:
        self.loaded: list[int] = []

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        if sampling.seed == 0:
            raise WorldError("vLLM is gone", "search")
        return SAID

    async def load_weights(self, version: int, source: WeightSource) -> None:
        self.loaded.append(version)


async def test_a_completion_is_a_chat_span_with_its_counts() -> None:
    with recorded() as keeps, AttemptTrace("t", seed=1) as attempt, attempt.one_try():
        assert await TracedEngine(Says()).complete(PROMPT, SAMPLING) is SAID
    (chat,) = keeps.named("chat")
    assert chat.attributes == {
        names.OPERATION: "chat",
        names.PROVIDER: "vllm",
        names.SEED: 21,
        names.TEMPERATURE: 0.5,
        names.MAX_TOKENS: 7,
        names.INPUT_TOKENS: 3,
        names.OUTPUT_TOKENS: 2,
        names.IMAGES: 1,
        names.FINISH: "length",
        names.VERSION: 4,
    }
    assert chat.error is None


async def test_an_engine_that_is_gone_is_an_error_and_passes_through() -> None:
    with recorded() as keeps, pytest.raises(WorldError), AttemptTrace("t", seed=1) as attempt, attempt.one_try():
        await TracedEngine(Says()).complete(PROMPT, Sampling(max_tokens=7, seed=0))
    assert [each.error for each in keeps.named("chat")] == ["search: vLLM is gone"]


async def test_weights_pass_through() -> None:
    says = Says()
    await TracedEngine(says).load_weights(5, WeightSource(path="w"))
    assert says.loaded == [5]
