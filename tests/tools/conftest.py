from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gen_searcher.config.agent import FetchConfig
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A loopback server that answers for `site.test`, and a fetcher that may reach it."""

    def __init__(self, fetcher: Fetcher, waits_s: list[float], requests: list[str]) -> None:
        self.fetcher = fetcher
        self.waits_s = waits_s
        self.requests = requests


@asynccontextmanager
async def serve(handler: Handler, config: FetchConfig) -> AsyncIterator[Site]:
    requests: list[str] = []
    waits_s: list[float] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        requests.append(f"{request.host}{request.path}")
        return await handler(request)

    async def pause(wait_s: float) -> None:
        waits_s.append(wait_s)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = Address(host="127.0.0.1", port=runner.addresses[0][1])
    fetcher = Fetcher(config, allow={"site.test": address}, pause=pause)
    try:
        yield Site(fetcher, waits_s, requests)
    finally:
        await fetcher.close()
        await runner.cleanup()


@pytest.fixture
def site() -> Callable[..., object]:
    def start(handler: Handler, **settings: float) -> object:
        return serve(handler, FetchConfig(**{"total_timeout_s": 5.0, **settings}))  # type: ignore[arg-type]

    return start
