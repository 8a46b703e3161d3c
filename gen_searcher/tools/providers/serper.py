"""Google results by Serper (serper.dev), the provider of the paper: pages and pictures."""

from __future__ import annotations

from gen_searcher.config.secrets import Secret
from gen_searcher.tools.api import MAX_BYTES, TIMEOUT_S, JsonApi, failure, said_error
from gen_searcher.tools.reply import Fields, Source, address, hits, left, rows, text
from gen_searcher.web import Hit, ImageHit


class Serper:
    """Implements `SearchProvider` and `ImageSearchProvider`."""

    def __init__(
        self,
        *,
        key: Secret,
        country: str | None = None,
        language: str | None = None,
        usd_per_request: float = 0.001,
        base_url: str = "https://google.serper.dev",
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`country` and `language` are two-letter codes, e.g. `us` and `en`; None leaves them to Google."""
        self._api = JsonApi(
            provider="serper",
            base_url=base_url,
            key=key,
            key_header="X-API-KEY",
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
        self._place = {name: code for name, code in (("gl", country), ("hl", language)) if code is not None}
        self.usd_per_request = usd_per_request
        """What a request costs; nobody is asked for it."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first."""
        of = Source(provider="serper", stage="search")
        answer = await self._api.post("/search", stage=of.stage, body={"q": query, "num": limit, **self._place})
        return hits(rows(answer, "organic", of=of), _page, limit=limit, of=of)

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures, best first."""
        of = Source(provider="serper", stage="image_search")
        answer = await self._api.post("/images", stage=of.stage, body={"q": query, "num": limit, **self._place})
        return hits(rows(answer, "images", of=of), _picture, limit=limit, of=of)

    async def standing(self) -> str:
        """How many requests the account still has: `GET /account`, which takes none of them. Raises ProviderError."""
        of = Source(provider="serper", stage="standing")
        answer = await self._api.get("/account", stage=of.stage)
        if "balance" not in answer and (words := said_error(answer)):
            raise failure(words, status=200, provider=of.provider, stage=of.stage)
        return left(answer.get("balance"), "requests", of=of)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()


def _page(row: Fields) -> Hit:
    return Hit(title=text(row, "title"), url=address(row, "link"), snippet=text(row, "snippet"))


def _picture(row: Fields) -> ImageHit:
    return ImageHit(
        title=text(row, "title", "source"),
        image_url=address(row, "imageUrl", "thumbnailUrl"),
        page_url=address(row, "link"),
    )
