"""Google's `generateContent` (Nano Banana Pro): text and `inlineData` parts in, the first `inlineData` part out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import quote

from PIL import Image

from gen_searcher.config.secrets import Secret
from gen_searcher.drawing import Capability
from gen_searcher.engines.hosted.http import Service, decode_base64, field, is_refusal, png
from gen_searcher.errors import GeneratorError, GeneratorRefused
from gen_searcher.tools.api import JsonApi

MAX_REFERENCES = 14


class GeminiImages:
    """A Gemini image model."""

    def __init__(
        self,
        *,
        key: Secret,
        model: str = "gemini-3-pro-image",
        base_url: str = "https://generativelanguage.googleapis.com/v1beta",
        aspect_ratio: str = "1:1",
        usd_per_picture: float = 0.0,
        timeout_s: float = 300.0,
    ) -> None:
        """The key goes into a header, never into the URL; `usd_per_picture` is the list price, for the records."""
        del usd_per_picture  # `declare` reads it
        url = f"{base_url.rstrip('/')}/models/{model}:generateContent"
        self._service = Service(url, key=key, key_header="x-goog-api-key", timeout_s=timeout_s)
        self._aspect_ratio = aspect_ratio
        self._account = JsonApi(provider="gemini", base_url=base_url, key=key, key_header="x-goog-api-key")
        self._model = model

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """Fourteen references, no seed."""
        return Capability(
            max_references=MAX_REFERENCES,
            takes_seed=False,
            usd_per_picture=float(str(keywords.get("usd_per_picture", 0.0))),
            revision=f"{keywords.get('model')} {keywords.get('aspect_ratio')}",
        )

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """One picture; the seed only tells drawings apart. Raises GeneratorError and GeneratorGone."""
        del seed
        shown = [
            {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(png(picture)).decode()}}
            for picture in references
        ]
        body = {
            "contents": [{"role": "user", "parts": [{"text": prompt}, *shown]}],
            "generationConfig": {
                "responseModalities": ["IMAGE"],
                "imageConfig": {"aspectRatio": self._aspect_ratio},
            },
        }
        return first_picture(await self._service.post(body=body))

    async def standing(self) -> str:
        """Whether key and model are accepted: `GET /models/MODEL`, https://ai.google.dev/api/models. Raises ProviderError."""
        await self._account.get(f"/models/{quote(self._model, safe='')}", stage="standing")
        return f"accepted, the model {self._model} is there; it does not say what is left"

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()
        await self._account.close()


def first_picture(reply: Mapping[str, object]) -> Image.Image:
    """The first picture of the first candidate. Raises GeneratorRefused when the reply says that it was declined."""
    blocked = reply.get("promptFeedback")
    if isinstance(blocked, dict) and "blockReason" in blocked:
        raise GeneratorRefused(f"the prompt was blocked: {field(cast('object', blocked), 'blockReason')}")
    candidate = field(reply, "candidates", 0)
    reason = _finish_reason(candidate)
    if is_refusal(reason):
        raise GeneratorRefused(f"no picture: {reason}")
    parts = field(candidate, "content", "parts")
    for part in cast("Sequence[Mapping[str, object]]", parts) if isinstance(parts, list) else ():
        if "inlineData" in part:
            return decode_base64(field(part, "inlineData", "data"))
    raise GeneratorError(f"the reply holds no picture (finishReason {reason or 'not given'})")


def _finish_reason(candidate: object) -> str:
    if not isinstance(candidate, dict):
        return ""
    return str(cast("Mapping[str, object]", candidate).get("finishReason", ""))
