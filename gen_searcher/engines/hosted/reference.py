"""The Gen-Searcher reference's own protocol: `POST /generate`, `GET /health`.

{image_urls, prompt, seed, true_cfg_scale, ...} -> {"success": true, "image": BASE64 PNG}
or {"success": false, "message": ...}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from gen_searcher.drawing import Capability
from gen_searcher.engines.hosted.http import Service, data_url, decode_base64, field
from gen_searcher.errors import GeneratorUnavailable
from gen_searcher.tools.api import JsonApi

MAX_REFERENCES = 3


class ReferenceService:
    """A service that speaks the reference's protocol, `gen-searcher serve generator` among them."""

    def __init__(
        self,
        *,
        url: str,
        max_references: int = MAX_REFERENCES,
        timeout_s: float = 1800.0,
        blank_px: tuple[int, int] | None = None,
        extra: Mapping[str, float | str] | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: The service's root.
            max_references: Most pictures that it takes.
            timeout_s: Longest wait for one picture.
            blank_px: Width and height of a white picture that is sent where an answer has no reference, for a service that
                edits pictures and refuses such a call, as the reference's own does; None sends none.
            extra: Further fields, e.g. `true_cfg_scale`, `num_inference_steps`.
        """
        del max_references  # `declare` reads it
        self._blanks = () if blank_px is None else (Image.new("RGB", (blank_px[0], blank_px[1]), "#ffffff"),)
        self._service = Service(url, timeout_s=timeout_s)
        self._extra = dict(extra or {})
        self._health = JsonApi(provider="reference service", base_url=url)

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """Three references unless the keywords say otherwise."""
        most = int(str(keywords.get("max_references", MAX_REFERENCES)))
        blank = keywords.get("blank_px")
        what = [keywords.get("url"), keywords.get("extra"), *([] if blank is None else [f"blank {blank}"])]
        return Capability(max_references=most, revision=" ".join(map(str, what)))

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """One picture. Raises GeneratorError and GeneratorGone."""
        body = {
            **self._extra,
            "prompt": prompt,
            "image_urls": [data_url(picture) for picture in references or self._blanks],
            "seed": seed,
        }
        reply = await self._service.post("/generate", body=body)
        if reply.get("success") is not True:
            raise GeneratorUnavailable(f"the service failed: {str(reply.get('message'))[:300]}")
        return decode_base64(field(reply, "image"))

    async def standing(self) -> str:
        """What `GET /health` says. Raises ProviderError."""
        return f"answers: {(await self._health.get('/health', stage='standing')).get('status')}"

    async def close(self) -> None:
        """Close all connections."""
        await self._service.close()
        await self._health.close()
