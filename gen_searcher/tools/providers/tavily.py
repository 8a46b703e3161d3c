"""Tavily: pages with the passages that bear on the query, and the pictures it met on the way."""

from __future__ import annotations

from gen_searcher.config.secrets import Secret
from gen_searcher.tools.api import MAX_BYTES, TIMEOUT_S, JsonApi
from gen_searcher.tools.reply import Fields, Source, address, hits, inner, left, number, rows, text
from gen_searcher.web import Hit, ImageHit

MAX_CHARS = 400
"""Longer queries are turned away."""

MAX_RESULTS = 20
"""Pages per request."""


class Tavily:
    """Implements `SearchProvider` and `ImageSearchProvider`. Its pictures come without the page they stand on."""

    def __init__(
        self,
        *,
        key: Secret,
        depth: str = "basic",
        usd_per_request: float = 0.008,
        base_url: str = "https://api.tavily.com",
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`depth` is Tavily's `search_depth`; `advanced` costs two credits instead of one."""
        self._api = JsonApi(
            provider="tavily",
            base_url=base_url,
            key=key,
            key_prefix="Bearer ",
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
        self._depth = depth
        self.usd_per_request = usd_per_request
        """What a request costs; nobody is asked for it."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first."""
        of = Source(provider="tavily", stage="search")
        answer = await self._api.post("/search", stage=of.stage, body=self._body(query, limit))
        return hits(rows(answer, "results", of=of), _page, limit=limit, of=of)

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures, best first; `limit` only cuts, Tavily gives as many as it likes."""
        of = Source(provider="tavily", stage="image_search")
        body = {**self._body(query, limit), "include_images": True, "include_image_descriptions": True}
        answer = await self._api.post("/search", stage=of.stage, body=body)
        return hits(rows(answer, "images", of=of), _picture, limit=limit, of=of)

    async def standing(self) -> str:
        """How many credits the plan, or the key if it has a limit of its own, still has: `GET /usage`, which takes none.

        https://docs.tavily.com/documentation/api-reference/endpoint/usage. Raises ProviderError.
        """
        of = Source(provider="tavily", stage="standing")
        answer = await self._api.get("/usage", stage=of.stage)
        key, account = inner(answer, "key"), inner(answer, "account")
        rests = [_rest(key, "limit", "usage"), _rest(account, "plan_limit", "plan_usage")]
        return left(min((rest for rest in rests if rest is not None), default=None), "credits", of=of)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    def _body(self, query: str, limit: int) -> Fields:
        return {"query": query[:MAX_CHARS], "search_depth": self._depth, "max_results": min(limit, MAX_RESULTS)}


def _rest(account: Fields, limit: str, usage: str) -> float | None:
    """What a limit leaves; None where there is no limit."""
    most, used = number(account.get(limit)), number(account.get(usage))
    return None if most is None or used is None else most - used


def _page(row: Fields) -> Hit:
    return Hit(title=text(row, "title"), url=address(row, "url"), snippet=text(row, "content"))


def _picture(row: Fields) -> ImageHit:
    return ImageHit(title=text(row, "description"), image_url=address(row, "url"), page_url="")
