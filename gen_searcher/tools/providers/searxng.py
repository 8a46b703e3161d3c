"""SearXNG, a meta search engine that you run yourself: pages and pictures, no key.

Its `settings.yml` must list `json` under `search.formats`; without that it answers 403.
"""

from __future__ import annotations

from gen_searcher.errors import ProviderDown, ProviderRefused
from gen_searcher.tools.api import MAX_BYTES, TIMEOUT_S, JsonApi
from gen_searcher.tools.reply import Fields, Source, address, hits, rows, text
from gen_searcher.web import Hit, ImageHit


class SearXNG:
    """Implements `SearchProvider` and `ImageSearchProvider`."""

    def __init__(
        self,
        *,
        base_url: str,
        language: str | None = None,
        engines: tuple[str, ...] = (),
        usd_per_request: float = 0.0,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`base_url` is your instance; `engines` asks only these, all that it has enabled when empty."""
        self._api = JsonApi(provider="searxng", base_url=base_url, timeout_s=timeout_s, max_bytes=max_bytes)
        self._asked = {"language": language} if language is not None else {}
        if engines:
            self._asked["engines"] = ",".join(engines)
        self.usd_per_request = usd_per_request
        """What a request costs; nobody is asked for it."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first; about twenty at most, whatever the limit."""
        of = Source(provider="searxng", stage="search")
        return hits(await self._rows(query, "general", of), _page, limit=limit, of=of)

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures, best first."""
        of = Source(provider="searxng", stage="image_search")
        return hits(await self._rows(query, "images", of), _picture, limit=limit, of=of)

    async def standing(self) -> str:
        """Whether your instance answers: `GET /config` (https://docs.searxng.org/admin/api.html). Raises ProviderError."""
        engines = rows(
            await self._api.get("/config", stage="standing"), "engines", of=Source(provider="searxng", stage="standing")
        )
        return f"answers, {len(engines)} engines; whether it gives JSON is seen by a search alone"

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _rows(self, query: str, category: str, of: Source) -> list[Fields]:
        asked = {"q": query, "format": "json", "categories": category, "pageno": "1", **self._asked}
        try:
            answer = await self._api.get("/search", stage=of.stage, query=asked)
        except ProviderRefused as refused:
            raise ProviderRefused(
                f"{refused.message} (does its settings.yml list json under search.formats?)", of.stage, refused.refusal
            ) from None
        found = rows(answer, "results", of=of)
        silent = answer.get("unresponsive_engines")
        if not found and silent:
            # Nothing from engines that did not answer says nothing about the web.
            raise ProviderDown(f"searxng: no results, and engines did not answer: {str(silent)[:200]}", of.stage)
        return found


def _page(row: Fields) -> Hit:
    return Hit(title=text(row, "title"), url=address(row, "url"), snippet=text(row, "content"))


def _picture(row: Fields) -> ImageHit:
    return ImageHit(
        title=text(row, "title", "source"),
        image_url=address(row, "img_src", "thumbnail_src"),
        page_url=address(row, "url"),
    )
