"""The embedded web with the latency of a real one: what a search takes is drawn from its query and how often it came."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

from gen_searcher.web import Hit, ImageHit
from gen_searcher.world.providers import EmbeddedWeb


class SlowWeb:
    """Implements `SearchProvider` and `ImageSearchProvider`."""

    def __init__(self, *, median_s: float, sigma: float) -> None:
        """Lognormal seconds per search."""
        self._median_s = median_s
        self._sigma = sigma
        self._web = EmbeddedWeb()
        self._asked: Counter[str] = Counter()

    def hosts(self) -> tuple[str, ...]:
        """Those of the embedded web."""
        return self._web.hosts()

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, after a while."""
        await self._wait(f"search {query}")
        return await self._web.search(query, limit=limit)

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures, after a while."""
        await self._wait(f"images {query}")
        return await self._web.search_images(query, limit=limit)

    async def _wait(self, request: str) -> None:
        self._asked[request] += 1
        rng = random.Random(f"{request} {self._asked[request]}")
        await asyncio.sleep(self._median_s * math.exp(self._sigma * rng.gauss(0.0, 1.0)))
