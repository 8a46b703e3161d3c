"""Asks a language model for requests: category -> requests, question and answer -> a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_searcher.data.chat import ChatModel
from gen_searcher.errors import ProviderInvalid
from gen_searcher.rewards.chat.question import quoted
from gen_searcher.rewards.chat.verdicts import complaint, schema
from gen_searcher.tools.api import Fields
from gen_searcher.types import Sampling

DIFFICULTIES = ("easy", "medium", "hard", "multiple subject")
MOST = 50
"""Requests that one answer may hold."""

_REQUEST = schema(
    prompt={"type": "string"},
    shows={"type": "string"},
    text={"type": ["string", "null"]},
    difficulty={"type": "string", "enum": list(DIFFICULTIES)},
)
FORM: Fields = {
    "type": "json_schema",
    "json_schema": {
        "name": "requests",
        "strict": True,
        "schema": schema(requests={"type": "array", "items": _REQUEST}),
    },
}


class Request(BaseModel):
    """One request as the model writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    shows: str
    """What a right picture shows, in words."""
    text: str | None
    difficulty: Literal["easy", "medium", "hard", "multiple subject"]


class _Requests(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: tuple[Request, ...] = Field(max_length=MOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of one question to the writer."""

    requests: Sequence[Request]
    model: str
    cost_usd: float


class Writer:
    """Thinks up requests."""

    def __init__(self, model: ChatModel, *, temperature: float) -> None:
        """`model` answers; `temperature` is what it is sampled with."""
        self._model = model
        self._temperature = temperature

    async def write(self, category: str, *, count: int, number: int, seed: int) -> Written:
        """About `count` requests of a category; `number` tells one question from another of the same category.

        Raises:
            ProviderError: No usable answer.
        """
        asked = (
            f"Category: {category}. Write {count} requests. This is sheet {number + 1} of this category: choose things "
            "that few others would think of first."
        )
        return await self._ask("write", asked, seed=seed)

    async def convert(self, question: str, answer: str, *, seed: int) -> Written:
        """A request made of a question, or none. Raises as `write`."""
        asked = f"<question>{quoted(question)}</question>\n<answer>{quoted(answer)}</answer>"
        return await self._ask("convert", asked, seed=seed)

    async def _ask(self, prompt: str, asked: str, *, seed: int) -> Written:
        server = self._model.server
        system, form = prompt_text(prompt), FORM
        if server.reply_format == "json_object":
            system = f"{system}\n\nAnswer with one JSON object of this schema: {json.dumps(FORM)}"
            form = {"type": "json_object"}
        said = await self._model.say(
            [{"role": "system", "content": system}, {"role": "user", "content": asked}],
            sampling=Sampling(max_tokens=server.max_tokens, seed=seed, temperature=self._temperature),
            form=form,
        )
        try:
            found = _Requests.model_validate_json(said.text)
        except ValidationError as error:
            cut = "; it is cut, raise data.propose.writer.max_tokens" if said.is_cut else ""
            raise ProviderInvalid(f"{said.model}: {complaint(error)}{cut}", "propose") from None
        return Written(requests=found.requests, model=said.model, cost_usd=said.cost_usd)


def prompt_text(name: str) -> str:
    """The instructions of `write` or `convert`."""
    return resources.files("gen_searcher.data").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")


def prompts_sha256() -> str:
    """Digest of all that shapes a question to the writer."""
    identity = "\x1f".join([prompt_text("write"), prompt_text("convert"), json.dumps(FORM, sort_keys=True)])
    return hashlib.sha256(identity.encode()).hexdigest()
