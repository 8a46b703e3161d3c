"""An `ImageModel` served with the reference's protocol: `POST /generate`, `GET /health`.

References come as data URLs only: a server that fetched URLs for its callers would fetch them from its own network.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_searcher.drawing import Capability
from gen_searcher.engines.hosted.http import decode_base64, png
from gen_searcher.errors import (
    GeneratorError,
    GeneratorInvalid,
    GeneratorOverloaded,
    GeneratorRefused,
    GeneratorUnavailable,
)
from gen_searcher.protocols import ImageModel

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64_000_000
MAX_WAITING = 64
"""Requests that may wait for the model; one more is answered 429."""
RETRY_AFTER_S = 5
STOP_GRACE_S = 30.0
"""Requests in flight may finish for so long once the server was told to stop."""


class GenerateRequest(BaseModel):
    """The body of `POST /generate`; fields of the reference that belong to its pipeline are let through unread."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    image_urls: Annotated[list[str], Field(max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: dict[str, object]
    what: str


class GeneratorServer:
    """Serves one image model until stopped."""

    def __init__(self, model: ImageModel, *, capability: Capability | None = None) -> None:
        """Nothing listens before `start`."""
        self._model = model
        self._capability = Capability() if capability is None else capability
        self._runner: web.AppRunner | None = None
        self._waiting = 0

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; port 0 takes a free one. Returns the URL once connections are taken."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/generate", self._generate)
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_GRACE_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0]
        return f"http://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Take no more connections, let requests in flight finish, close."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, request: web.Request) -> web.Response:
        del request
        status = {"status": "healthy", "waiting": self._waiting, "max_references": self._capability.max_references}
        return web.json_response(status)

    async def _generate(self, request: web.Request) -> web.Response:
        started_s = time.monotonic()
        if self._waiting >= MAX_WAITING:
            answer = _failed(429, "too many requests are waiting")
        else:
            self._waiting += 1
            try:
                answer = await self._answer(request)
            finally:
                self._waiting -= 1
        log.info("POST /generate %d %s %.3f s", answer.status, answer.what, time.monotonic() - started_s)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if answer.status == 429 else None
        return web.json_response(answer.body, status=answer.status, headers=headers)

    async def _answer(self, request: web.Request) -> _Answer:
        try:
            asked = GenerateRequest.model_validate_json(await request.read())
            pictures = [_picture(url) for url in asked.image_urls or ()]
        except web.HTTPRequestEntityTooLarge:
            return _failed(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            return _failed(422, found)
        except GeneratorError as error:
            return _failed(400, error.message)
        most = self._capability.max_references
        if most is not None and len(pictures) > most:
            return _failed(422, f"{len(pictures)} references; this model takes {most}")
        try:
            drawn = await self._model.draw(asked.prompt, pictures, seed=asked.seed)
            image = base64.b64encode(await asyncio.to_thread(png, drawn)).decode()
        except GeneratorError as error:
            return _failed(_status(error), error.message)
        except Exception as error:  # a plug may raise anything; the client reads the kind, the log has the rest
            log.exception("the image model failed")
            return _failed(500, f"the image model raised {type(error).__name__}")
        what = f"{len(pictures)} references, {drawn.width}x{drawn.height} px"
        return _Answer(status=200, body={"success": True, "image": image}, what=what)


def _picture(url: str) -> Image.Image:
    head, _, body = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise GeneratorInvalid("image_urls: only data URLs of pictures are taken")
    return decode_base64(body)


def _status(error: GeneratorError) -> int:
    if isinstance(error, GeneratorRefused):
        return 403
    if isinstance(error, GeneratorInvalid):
        return 422
    if isinstance(error, GeneratorOverloaded):
        return 429
    return 503 if isinstance(error, GeneratorUnavailable) else 500


def _failed(status: int, message: str) -> _Answer:
    prefix = "content_policy: " if status == 403 else ""
    return _Answer(status=status, body={"success": False, "message": prefix + message}, what=message[:200])
