from __future__ import annotations

import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
from PIL import Image, ImageChops

from gen_searcher.world import World
from gen_searcher.world.server import EmbeddedServer, ServerAddress


@pytest.fixture
async def address() -> AsyncIterator[ServerAddress]:
    server = EmbeddedServer(World.load())
    yield await server.start()
    await server.stop()


async def get(address: ServerAddress, host: str, path: str) -> tuple[int, str, bytes]:
    url = f"http://{address.host}:{address.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": host}) as response:
        return response.status, response.content_type, await response.read()


async def test_a_page_holds_title_picture_facts_links_and_licence(address: ServerAddress) -> None:
    status, kind, body = await get(address, "geography.mini.web", "/poland")
    text = body.decode()
    assert (status, kind) == (200, "text/html")
    assert "<title>Poland</title>" in text
    assert '<img src="http://geography.mini.web/poland.webp" alt="Flag of Poland">' in text
    assert "<p>Capital of Poland: Warsaw.</p>" in text
    assert '<a href="http://geography.mini.web/warsaw">Warsaw</a>' in text
    assert "flag-icons 7.5.0, MIT" in text


async def test_a_picture_comes_as_webp(address: ServerAddress) -> None:
    status, kind, body = await get(address, "geography.mini.web", "/poland.webp")
    assert (status, kind) == (200, "image/webp")
    served = Image.open(io.BytesIO(body)).convert("RGB")
    assert ImageChops.difference(served, World.load().picture("flag-pl")).getbbox() is None


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("geography.mini.web", "/nowhere"),
        ("chemistry.mini.web", "/poland"),
        ("geography.mini.web", "/nowhere.webp"),
        ("example.org", "/poland"),
        ("mini.web", "/poland"),
    ],
)
async def test_what_is_not_there_is_404(address: ServerAddress, host: str, path: str) -> None:
    assert (await get(address, host, path))[0] == 404
