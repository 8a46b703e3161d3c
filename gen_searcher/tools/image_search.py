"""The `image_search` tool: query -> pictures, fetched, decoded under limits and stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.errors import ProviderError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageSearchProvider
from gen_searcher.tools.arguments import ImageSearchArguments
from gen_searcher.tools.blocked import Blocklist
from gen_searcher.tools.cache import RequestCache
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.http import PictureSource
from gen_searcher.tools.images import PictureDecoder, fit_for_policy
from gen_searcher.tools.meter import Meter
from gen_searcher.tools.words import one_line
from gen_searcher.types import FoundImage, ImageRef, ToolKind, ToolResult
from gen_searcher.web import ImageHit

_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "application/octet-stream", "binary/octet-stream")
"""What servers call such pictures; the decoder believes only the bytes."""
_SPARE = 2
"""Hits asked for per picture wanted, because some cannot be loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    image: ImageRef
    view: ImageRef


_Loaded = _Picture | Refused | ProviderError


class ImageSearch:
    """Asks the provider each query once per run, and fetches each picture once."""

    def __init__(
        self,
        provider: ImageSearchProvider,
        *,
        fetcher: PictureSource,
        decoder: PictureDecoder,
        store: ImageStore,
        config: ToolsConfig,
        meter: Meter | None = None,
    ) -> None:
        """`provider` finds pictures, `fetcher` brings them; `meter` counts queries and pictures."""
        self._provider = provider
        self._fetcher = fetcher
        self._decoder = decoder
        self._store = store
        self._config = config
        self._blocked = Blocklist(config.blocked_hosts)
        self._meter = meter or Meter()
        self._asked: RequestCache[str, list[ImageHit]] = RequestCache(config.cache_entries, meter=self._meter)
        self._loaded: RequestCache[str, _Picture | Refused] = RequestCache(config.cache_entries, meter=self._meter)

    async def run(self, arguments: ImageSearchArguments) -> ToolResult:
        """The first pictures that can be loaded. Raises ProviderError when none can because hosts are down."""
        wanted = min(arguments.top_k or self._config.images_per_search, self._config.images_per_search)
        query = arguments.query
        answer = await self._asked.get(
            query, lambda: self._provider.search_images(query, limit=_SPARE * self._config.images_per_search)
        )
        cache = "hit" if answer.is_hit else "miss"
        hits = self._allowed(list({hit.image_url: hit for hit in reversed(answer.value)}.values())[::-1])
        shown_query = one_line(query, self._config.title_chars)
        if not hits:
            return ToolResult(text=f"no pictures for: {shown_query}", kind=ToolKind.EMPTY, cache=cache)
        found, failures = await self._load_first(hits, wanted)
        if found:
            return ToolResult(text=f"pictures for: {shown_query}", images=tuple(found), cache=cache)
        down = next((failure for failure in failures if isinstance(failure, ProviderError)), None)
        if down is not None:
            raise down
        reason = "none of the pictures found could be loaded"
        return ToolResult(text=f"image search failed: {reason}", kind=ToolKind.FAILED, reason=reason, cache=cache)

    def _allowed(self, hits: Sequence[ImageHit]) -> list[ImageHit]:
        allowed = [hit for hit in hits if not self._blocked.holds(hit.image_url, hit.page_url)]
        self._meter.add("tool/blocked_count", len(hits) - len(allowed))
        return allowed

    async def _load_first(
        self, hits: Sequence[ImageHit], wanted: int
    ) -> tuple[list[FoundImage], list[Refused | ProviderError]]:
        found: list[FoundImage] = []
        failures: list[Refused | ProviderError] = []
        rest = list(hits)
        while rest and len(found) < wanted:
            missing = wanted - len(found)
            batch, rest = rest[:missing], rest[missing:]
            loaded = await asyncio.gather(*(self._load(hit.image_url) for hit in batch))
            for hit, picture in zip(batch, loaded, strict=True):
                if isinstance(picture, _Picture):
                    found.append(self._found(hit, picture))
                else:
                    failures.append(picture)
        return found, failures

    async def _load(self, url: str) -> _Loaded:
        try:
            return (await self._loaded.get(url, lambda: self._fetch(url))).value
        except ProviderError as error:
            return error

    async def _fetch(self, url: str) -> _Picture | Refused:
        try:
            fetched = await self._fetcher.get(url, stage="image_search", types=_TYPES)
            if self._blocked.holds(fetched.url):  # a redirect led there
                self._meter.add("tool/blocked_count")
                raise Refused("this site cannot be read here")
            return await asyncio.to_thread(self._store_picture, fetched.body)
        except Refused as refused:
            return Refused(refused.reason)  # without the frames of the one that was raised

    def _store_picture(self, body: bytes) -> _Picture:
        image = self._decoder.decode(body, side_px=self._config.image_side_px)
        view = fit_for_policy(image, side_px=self._config.view_side_px)
        return _Picture(image=self._store.put(image), view=self._store.put(view))

    def _found(self, hit: ImageHit, picture: _Picture) -> FoundImage:
        return FoundImage(
            img_id=picture.image.sha256[:12],
            title=one_line(hit.title, self._config.title_chars) or "untitled",
            url=hit.image_url,
            page_url=hit.page_url,
            image=picture.image,
            view=picture.view,
        )
