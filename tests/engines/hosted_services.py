"""Local servers that speak the hosted protocols, as far as the adapters use them, around one drawing function."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from PIL import Image

from gen_searcher.testing.fake_image_model import FakeImageModel

KEY = "k-123"


@asynccontextmanager
async def serving(path: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server on loopback with one route; yields its root."""
    app = web.Application(client_max_size=64_000_000)
    app.router.add_post(path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def painted(prompt: str, pictures: Sequence[bytes], seed: int) -> str:
    images = [Image.open(io.BytesIO(picture)) for picture in pictures]
    drawn = await FakeImageModel().draw(prompt, images, seed=seed)
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def openai_service(*, takes_seed: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"code": "invalid_api_key"}}, status=401)
        fields: dict[str, Any] = {}
        pictures: list[bytes] = []
        if request.path.endswith("/edits"):
            async for part in await request.multipart():
                assert not isinstance(part, type(None))
                if cast("Any", part).name == "image[]":
                    pictures.append(await cast("Any", part).read())
                else:
                    fields[cast("Any", part).name] = await cast("Any", part).text()
            if not pictures:
                return web.json_response({"error": {"code": "missing image"}}, status=400)
        else:
            fields = await request.json()
        if "seed" in fields and not takes_seed:
            return web.json_response({"error": {"code": "unknown_parameter"}}, status=400)
        image = await painted(fields["prompt"], pictures, int(fields.get("seed", 0)))
        return web.json_response({"data": [{"b64_json": image}]})

    return answer


async def ark_service(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.json_response({"error": {"code": "AuthenticationError"}}, status=401)
    body = await request.json()
    assert body["sequential_image_generation"] == "disabled"
    pictures = [base64.b64decode(url.partition(",")[2]) for url in body.get("image", [])]
    return web.json_response({"data": [{"b64_json": await painted(body["prompt"], pictures, 0)}]})


async def gemini_service(request: web.Request) -> web.StreamResponse:
    if request.headers.get("x-goog-api-key") != KEY or "key" in request.query:
        return web.json_response({"error": {"status": "UNAUTHENTICATED"}}, status=401)
    parts = (await request.json())["contents"][0]["parts"]
    pictures = [base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part]
    image = await painted(parts[0]["text"], pictures, 0)
    said: list[dict[str, object]] = [{"text": "Here."}, {"inlineData": {"mimeType": "image/png", "data": image}}]
    return web.json_response({"candidates": [{"finishReason": "STOP", "content": {"parts": said}}]})
