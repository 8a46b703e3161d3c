"""Search over the embedded world; its pages and pictures come over HTTP from `EmbeddedServer`, like anybody's."""

from __future__ import annotations

from gen_searcher.config.adversity import AdversityConfig
from gen_searcher.web import Hit, ImageHit
from gen_searcher.world.adversity import adverse_world
from gen_searcher.world.index import page_index, picture_index
from gen_searcher.world.world import DOMAIN, page_url

CALM = AdversityConfig()
"""The world as it ships."""


class EmbeddedWeb:
    """Implements `SearchProvider` and `ImageSearchProvider`; both indexes are built when first asked."""

    is_local = True

    def __init__(self, *, adversity: AdversityConfig = CALM) -> None:
        """`adversity` must be that of the server, or the hits name pages that the server does not have."""
        self._adversity = adversity

    def hosts(self) -> tuple[str, ...]:
        """Suffixes of the hosts that the guarded fetcher is to send to the server's address."""
        return (DOMAIN,)

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Pages, best first."""
        web = adverse_world(self._adversity)
        index = page_index(web.world)
        hits: list[Hit] = []
        for page in index.find(query, limit=limit):
            snippet = index.snippet(page, query)
            order = web.orders.get(page.id)
            if order is not None and order not in snippet:
                snippet = f"{snippet} {order}"
            hits.append(Hit(title=page.title, url=page.url, snippet=snippet))
        return hits

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Pictures; the first is not always the right one."""
        index = picture_index(adverse_world(self._adversity).world)
        return [
            ImageHit(title=entity.name, image_url=entity.picture_url, page_url=page_url(entity.page_id))
            for entity in index.find(query, limit=limit)
        ]
