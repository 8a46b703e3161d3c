"""What a judge asks, as the wire wants it: system prompt, text and picture parts, the schema of the verdict.

Order matters for servers with a prefix cache: what all attempts at one task share comes first.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import cast

from PIL import Image

from gen_searcher.config.rewards import ChatServer

JPEG_QUALITY = 100
"""As the benchmark sends its pictures."""
_INVISIBLE = frozenset({"Cc", "Cf", "Cs"})
"""Unicode categories: control, format, surrogate."""
_SHOWN_CHARS = 8000
"""Of one text that the policy wrote; more is not an answer but a flood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptText:
    """A judge's instructions, known by their digest."""

    text: str
    sha256: str
    """Of the text and of everything else that shapes the question (schema, order of the pictures)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in a question."""

    data_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to the model."""

    system: str
    parts: Sequence[str | Picture]
    """Of the user's message, in order."""
    name: str
    """Of the schema."""
    schema: Mapping[str, object]
    """JSON schema that the reply must satisfy."""


def load_prompt(name: str, *, schema: Mapping[str, object], shape: str) -> PromptText:
    """A prompt file of the package. `shape` names whatever else makes this question differ from another one."""
    text = resources.files("gen_searcher.rewards").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
    identity = "\x1f".join((text, json.dumps(schema, sort_keys=True), shape))
    return PromptText(text=text, sha256=hashlib.sha256(identity.encode()).hexdigest())


def quoted(value: object) -> str:
    """JSON that nobody mistakes for anything but data.

    Angle brackets are escaped, so no text inside can close the tags around it; line breaks and quotes are escaped by
    JSON itself; invisible and control characters are dropped; a text of more than 8000 characters is cut.
    """
    text = json.dumps(_visible(value), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def picture(image: Image.Image, *, max_side_px: int) -> Picture:
    """A picture as a JPEG data URL, its longer side at most `max_side_px`."""
    rgb = image.convert("RGB")
    rgb.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    rgb.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Picture(data_url="data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))


def body(question: Question, *, server: ChatServer, seed: int) -> dict[str, object]:
    """The request's JSON. What `server.extra` says of a key that is here already does not count."""
    parts = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": part.data_url}}
        for part in question.parts
    ]
    schema: dict[str, object] = {"name": question.name, "strict": True, "schema": question.schema}
    bound: dict[str, object] = {"type": "json_schema", "json_schema": schema}
    system = question.system
    if server.reply_format == "json_object":
        system = f"{system}\n\nAnswer with one JSON object of this schema: {json.dumps(question.schema)}"
        bound = {"type": "json_object"}
    return {
        **server.extra,
        "model": server.model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": parts}],
        "temperature": server.temperature,
        "max_tokens": server.max_tokens,
        "seed": seed,
        "response_format": bound,
    }


def _visible(value: object) -> object:
    if isinstance(value, str):
        kept = "".join(c for c in value[:_SHOWN_CHARS] if c in "\n\t" or unicodedata.category(c) not in _INVISIBLE)
        return kept if len(value) <= _SHOWN_CHARS else f"{kept} [cut]"
    if isinstance(value, Mapping):
        return {str(key): _visible(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_visible(item) for item in cast("Sequence[object]", value)]
    return value
