"""Brave Search: an index of its own, pages and pictures."""

from __future__ import annotations

from gen_searcher.config.secrets import Secret
from gen_searcher.tools.api import MAX_BYTES, TIMEOUT_S, Headers, JsonApi, wait_as_told
from gen_searcher.tools.reply import Fields, Source, address, hits, inner, rows, text
from gen_searcher.web import Hit, ImageHit

MAX_WORDS = 50
MAX_CHARS = 400
"""Longer queries are turned away."""

MAX_PAGES = 20
"""Pages per request."""

MAX_PICTURES = 200
"""Pictures per request."""


class Brave:
    """Implements `SearchProvider` and `ImageSearchProvider`."""

    def __init__(
        self,
        *,
        key: Secret,
        country: str | None = None,
        language: str | None = None,
        usd_per_request: float = 0.005,
        base_url: str = "https://api.search.brave.com",
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`country` and `language` are codes as Brave lists them, e.g. `US` and `en`."""
        self._api = JsonApi(
            provider="brave",
            base_url=base_url,
            key=key,
            key_header="X-Subscription-Token",
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            wait_s=wait_as_limited,
        )
        self._place = {
            name: code for name, code in (("country", country), ("search_lang", language)) if code is not None
        }
        self.usd_per_request = usd_per_request
        """What a request costs; nobody is asked for it."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first."""
        of = Source(provider="brave", stage="search")
        asked = {"q": shortened(query), "count": str(min(limit, MAX_PAGES)), **self._place}
        answer = await self._api.get("/res/v1/web/search", stage=of.stage, query=asked)
        # Without results the whole section is missing; the query that was understood is always repeated.
        may_lack = "query" in answer
        section = inner(answer, "web") if may_lack or "web" in answer else answer
        return hits(rows(section, "results", of=of, may_lack=may_lack), _page, limit=limit, of=of)

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures, best first."""
        of = Source(provider="brave", stage="image_search")
        asked = {"q": shortened(query), "count": str(min(limit, MAX_PICTURES)), **self._place}
        answer = await self._api.get("/res/v1/images/search", stage=of.stage, query=asked)
        return hits(rows(answer, "results", of=of), _picture, limit=limit, of=of)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()


def shortened(query: str) -> str:
    """The query within Brave's limits."""
    return " ".join(query.split()[:MAX_WORDS])[:MAX_CHARS]


def wait_as_limited(headers: Headers) -> float | None:
    """Seconds by `Retry-After`, else until the longest window without requests left opens again.

    Brave gives one number per window, the second's first and the month's last: `X-RateLimit-Remaining: 0, 1421` beside
    `X-RateLimit-Reset: 1, 1419704`.
    """
    told = wait_as_told(headers)
    if told is not None:
        return told
    left, resets = (_numbers(headers.get(f"X-RateLimit-{name}", "")) for name in ("Remaining", "Reset"))
    closed = [reset for remaining, reset in zip(left, resets, strict=False) if remaining <= 0]
    return float(max(closed)) if closed else None


def _numbers(header: str) -> list[int]:
    parts = [part.strip() for part in header.split(",")]
    return [int(part) for part in parts] if all(part.isdecimal() and part.isascii() for part in parts) else []


def _page(row: Fields) -> Hit:
    return Hit(title=text(row, "title"), url=address(row, "url"), snippet=text(row, "description"))


def _picture(row: Fields) -> ImageHit:
    found = address(inner(row, "properties"), "url") or address(inner(row, "thumbnail"), "src")
    return ImageHit(title=text(row, "title", "source"), image_url=found, page_url=address(row, "url"))
