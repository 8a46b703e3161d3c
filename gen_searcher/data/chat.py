"""A model behind any OpenAI-compatible server, as the pipeline's writer and teacher: messages -> what it says.

    ChatModel    one request, under the run's limits and budget
    ChatTeacher  a `PolicyEngine`: the agent, its tools and its budgets stay the run's own

A teacher reads the conversation as the policy would, with the same system prompt, observations and pictures; what it says
is put into the student's tokens, in which the agent counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.agent.render import SPECIAL_TOKENS, Renderer
from gen_searcher.config.rewards import ChatServer
from gen_searcher.data.sharegpt import PLACEHOLDER, read_words
from gen_searcher.errors import ProviderInvalid
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.chat.question import picture
from gen_searcher.tools.api import Fields, JsonApi
from gen_searcher.tools.calling import Caller
from gen_searcher.tools.reply import Source, inner, rows
from gen_searcher.types import Completion, Finish, ImageRef, Prompt, Sampling, WeightSource
from gen_searcher.web import writable

_ANSWER_NEXT = "<|im_start|>assistant\n"
_MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the model answered."""

    text: str
    is_cut: bool
    """It was not done when its tokens were."""
    model: str
    """As the server names itself."""
    cost_usd: float


class ChatModel:
    """One model on one server."""

    def __init__(self, server: ChatServer, caller: Caller, *, stage: str) -> None:
        """`caller` holds the account that is asked before every request; `stage` names errors."""
        self._server = server
        self._caller = caller
        self._of = Source(provider=server.model, stage=stage)
        self._api = JsonApi(
            provider=server.model,
            base_url=server.base_url,
            key=server.key,
            key_prefix="Bearer ",
            timeout_s=server.timeout_s,
            max_bytes=_MAX_BYTES,
        )
        self._free = asyncio.Semaphore(server.concurrency)

    @property
    def server(self) -> ChatServer:
        """Who is asked."""
        return self._server

    async def say(self, messages: Sequence[Fields], *, sampling: Sampling, form: Mapping[str, object] | None) -> Said:
        """One answer.

        Args:
            messages: As the wire wants them.
            sampling: Length, temperature, top-p and seed.
            form: `response_format`; None for free text.

        Raises:
            ProviderError: No answer; its class says what would mend it.
            BudgetSpent, ProviderClosed: Nothing more is asked.
        """
        body: Fields = {
            **self._server.extra,
            "model": self._server.model,
            "messages": list(messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            **({} if form is None else {"response_format": form}),
        }
        async with self._free:
            answer = await self._caller.call(
                lambda: self._api.post("/chat/completions", stage=self._of.stage, body=body)
            )
        choices = rows(answer, "choices", of=self._of)
        said = inner(choices[0], "message").get("content") if choices else None
        if not isinstance(said, str):
            raise ProviderInvalid(f"{self._server.model}: the answer has no text", self._of.stage)
        model = answer.get("model")
        return Said(
            text=writable(said),
            is_cut=choices[0].get("finish_reason") == "length",
            model=writable(model) if isinstance(model, str) else self._server.model,
            cost_usd=self._cost(inner(answer, "usage")),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    def _cost(self, usage: Fields) -> float:
        read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        return (read * self._server.usd_per_m_input + written * self._server.usd_per_m_output) / 1e6


class ChatTeacher:
    """Implements `PolicyEngine` for one trajectory."""

    def __init__(self, model: ChatModel, *, renderer: Renderer, store: ImageStore) -> None:
        """`renderer` speaks the student's tokenizer; `store` holds the pictures that tools bring."""
        self._model = model
        self._renderer = renderer
        self._store = store
        self.cost_usd = 0.0
        """Of this trajectory so far."""
        self.name = model.server.model
        """As the server last called itself."""

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Say the next thing. Raises as `ChatModel.say`."""
        text = self._renderer.text(prompt.token_ids).removesuffix(_ANSWER_NEXT)
        messages = await asyncio.to_thread(self._wire, text, prompt.images)
        said = await self._model.say(messages, sampling=sampling, form=None)
        self.cost_usd += said.cost_usd
        self.name = said.model
        token_ids = self._renderer.encode_completion(_plain(said.text.strip()))
        if said.is_cut:
            token_ids = token_ids[:-1]
        return Completion(
            token_ids=token_ids,
            logprobs=(0.0,) * len(token_ids),
            versions=(-1,) * len(token_ids),
            finish=Finish.LENGTH if said.is_cut else Finish.STOP,
        )

    async def load_weights(self, version: int, source: WeightSource) -> None:
        """Somebody else's weights."""

    def _wire(self, text: str, images: Sequence[ImageRef]) -> list[Fields]:
        """The conversation as chat completions want it, each picture in its place."""
        shown = iter(images)
        messages: list[Fields] = []
        for words in read_words(text, where="the conversation"):
            if words.role != "user":
                messages.append({"role": words.role, "content": words.content})
                continue
            parts: list[Fields] = []
            for number, stretch in enumerate(words.content.split(PLACEHOLDER)):
                if number:
                    image = picture(self._store.get(next(shown)), max_side_px=self._model.server.max_side_px)
                    parts.append({"type": "image_url", "image_url": {"url": image.data_url}})
                if stretch:
                    parts.append({"type": "text", "text": stretch})
            messages.append({"role": "user", "content": parts})
        return messages


def _plain(text: str) -> str:
    """What was said, with a space in each string that only the renderer may write."""
    for token in SPECIAL_TOKENS:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _count(usage: Fields, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
