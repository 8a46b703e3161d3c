"""The OpenAI images protocol: OpenAI, vLLM-Omni, SGLang Diffusion, LiteLLM proxies and most resellers.

Without references `POST {base}/images/generations` (JSON), with references `POST {base}/images/edits` (multipart,
`image[]`). https://platform.openai.com/docs/api-reference/images
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import aiohttp
from PIL import Image

from gen_searcher.config.secrets import Secret
from gen_searcher.drawing import Capability
from gen_searcher.engines.hosted.http import Service, decode_base64, field, png
from gen_searcher.tools.api import JsonApi
from gen_searcher.tools.models import model_standing

MAX_REFERENCES = 16
MAX_PROMPT_CHARS = 32_000


class OpenAIImages:
    """An image model behind the OpenAI images protocol."""

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        size: str = "1024x1024",
        key: Secret | None = None,
        sends_seed: bool = False,
        max_references: int = MAX_REFERENCES,
        usd_per_picture: float = 0.0,
        timeout_s: float = 300.0,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            base_url: Up to and including `/v1`.
            model: What the server calls it.
            size: `WIDTHxHEIGHT` in px, or what else the server takes.
            key: Sent as bearer token.
            sends_seed: vLLM-Omni and SGLang take a seed; OpenAI refuses the field.
            max_references: Most pictures per edit.
            usd_per_picture: List price, for the records.
            timeout_s: Longest wait for a picture.
            extra: Further fields of the request, e.g. `quality`.
        """
        del max_references, usd_per_picture  # `declare` reads them
        self._service = Service(base_url, key=key, timeout_s=timeout_s)
        self._fields = {"model": model, "size": size, "n": "1", **(extra or {})}
        self._sends_seed = sends_seed
        self._account = JsonApi(provider="images", base_url=base_url, key=key, key_prefix="Bearer ")
        self._model = model

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """OpenAI's limits unless the keywords say otherwise."""
        return Capability(
            max_references=int(str(keywords.get("max_references", MAX_REFERENCES))),
            takes_seed=bool(keywords.get("sends_seed", False)),
            usd_per_picture=float(str(keywords.get("usd_per_picture", 0.0))),
            max_prompt_chars=MAX_PROMPT_CHARS,
            revision=f"{keywords.get('base_url')} {keywords.get('model')} {keywords.get('size')}",
        )

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """One picture. Raises GeneratorError and GeneratorGone."""
        fields = {**self._fields, "prompt": prompt, **({"seed": str(seed)} if self._sends_seed else {})}
        if references:
            form = partial(_form, fields, [png(picture) for picture in references])
            reply = await self._service.post("/images/edits", form=form)
        else:
            body = {name: int(value) if name in ("n", "seed") else value for name, value in fields.items()}
            reply = await self._service.post("/images/generations", body=body)
        return decode_base64(field(reply, "data", 0, "b64_json"))

    async def standing(self) -> str:
        """Whether key and model are accepted, see `model_standing`. Raises ProviderError."""
        return await model_standing(self._account, self._model)

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()
        await self._account.close()


def _form(fields: Mapping[str, str], pictures: Sequence[bytes]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    for place, picture in enumerate(pictures, start=1):
        form.add_field("image[]", picture, filename=f"reference-{place}.png", content_type="image/png")
    return form
