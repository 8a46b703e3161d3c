"""Search over the embedded world; its pages and pictures come over HTTP from `EmbeddedServer`, like anybody's."""

from __future__ import annotations

from gen_searcher.web import Hit, ImageHit
from gen_searcher.world.index import page_index, picture_index
from gen_searcher.world.world import DOMAIN, page_url


class EmbeddedWeb:
    """Implements `SearchProvider` and `ImageSearchProvider`; both indexes are built when first asked."""

    def hosts(self) -> tuple[str, ...]:
        """Suffixes of the hosts that the guarded fetcher is to send to the server's address."""
        return (DOMAIN,)

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first."""
        index = page_index()
        return [
            Hit(title=page.title, url=page.url, snippet=index.snippet(page, query))
            for page in index.find(query, limit=limit)
        ]

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures; the first is not always the right one."""
        return [
            ImageHit(title=entity.name, image_url=entity.picture_url, page_url=page_url(entity.page_id))
            for entity in picture_index().find(query, limit=limit)
        ]
