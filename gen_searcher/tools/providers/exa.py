"""Exa: pages by meaning, with the passages that bear on the query, and the main picture of each page."""

from __future__ import annotations

from typing import cast

from gen_searcher.config.secrets import Secret
from gen_searcher.tools.api import MAX_BYTES, TIMEOUT_S, JsonApi
from gen_searcher.tools.reply import Fields, Source, address, hits, rows, text
from gen_searcher.web import Hit, ImageHit


class Exa:
    """Implements `SearchProvider` and `ImageSearchProvider`: its pictures are the main pictures of the pages found."""

    def __init__(
        self,
        *,
        key: Secret,
        kind: str = "auto",
        usd_per_request: float = 0.007,
        base_url: str = "https://api.exa.ai",
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`kind` is Exa's `type`; `lite` costs 0.004 USD."""
        self._api = JsonApi(
            provider="exa",
            base_url=base_url,
            key=key,
            key_header="x-api-key",
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
        self._kind = kind
        self.usd_per_request = usd_per_request
        """What a request of up to ten results costs; nobody is asked for it."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first."""
        of = Source(provider="exa", stage="search")
        body = {"query": query, "type": self._kind, "numResults": limit, "contents": {"highlights": True}}
        answer = await self._api.post("/search", stage=of.stage, body=body)
        return hits(rows(answer, "results", of=of), _page, limit=limit, of=of)

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """The main pictures of the pages found, best page first; a page without one is left out."""
        of = Source(provider="exa", stage="image_search")
        body = {"query": query, "type": self._kind, "numResults": limit}
        answer = await self._api.post("/search", stage=of.stage, body=body)
        found = rows(answer, "results", of=of)
        hits(found, _page, limit=limit, of=of)  # raises when these are no results at all
        return hits([row for row in found if row.get("image")], _picture, limit=limit, of=of)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()


def _page(row: Fields) -> Hit:
    return Hit(
        title=text(row, "title"), url=address(row, "url"), snippet=_passages(row) or text(row, "summary", "text")
    )


def _passages(row: Fields) -> str:
    found = row.get("highlights")
    if not isinstance(found, list):
        return ""
    passages = (text({"passage": passage}, "passage") for passage in cast("list[object]", found))
    return " … ".join(passage for passage in passages if passage)


def _picture(row: Fields) -> ImageHit:
    return ImageHit(title=text(row, "title"), image_url=address(row, "image"), page_url=address(row, "url"))
