"""ByteDance Ark (Seedream): `POST {base}/images/generations` with `image` as a list of data URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from gen_searcher.config.secrets import Secret
from gen_searcher.drawing import Capability
from gen_searcher.engines.hosted.http import Service, data_url, decode_base64, field

MAX_REFERENCES = 10
"""Seedream 4.0 takes 10, later ones up to 14."""


class ArkImages:
    """A Seedream model."""

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        key: Secret,
        size: str = "2K",
        max_references: int = MAX_REFERENCES,
        usd_per_picture: float = 0.03,
        timeout_s: float = 300.0,
    ) -> None:
        """`base_url` goes up to `/api/v3`; `size` is `1K`, `2K`, `4K` or `WIDTHxHEIGHT`; the rest as in OpenAIImages."""
        del max_references, usd_per_picture  # `declare` reads them
        self._service = Service(base_url, key=key, timeout_s=timeout_s)
        self._fields: dict[str, object] = {
            "model": model,
            "size": size,
            "response_format": "b64_json",
            "sequential_image_generation": "disabled",
            "watermark": False,
        }

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """Seedream 4.0's limits unless the keywords say otherwise; the API promises no seed."""
        return Capability(
            max_references=int(str(keywords.get("max_references", MAX_REFERENCES))),
            takes_seed=False,
            usd_per_picture=float(str(keywords.get("usd_per_picture", 0.03))),
            revision=f"{keywords.get('model')} {keywords.get('size', '2K')}",
        )

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """One picture; the seed only tells drawings apart. Raises GeneratorError and GeneratorGone."""
        del seed
        body = {**self._fields, "prompt": prompt}
        if references:
            body["image"] = [data_url(picture) for picture in references]
        reply = await self._service.post("/images/generations", body=body)
        return decode_base64(field(reply, "data", 0, "b64_json"))

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()
