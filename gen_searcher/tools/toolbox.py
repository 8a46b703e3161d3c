"""Everything the agent can call, behind one door.

    ToolCall -> search | image_search | browse -> ToolResult

A toolbox belongs to one process and one run: its caches make sure that siblings never pay twice for a request.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageSearchProvider, PageReader, SearchProvider, Summarizer
from gen_searcher.tools.arguments import BrowseArguments, ImageSearchArguments, SearchArguments
from gen_searcher.tools.browse import Browse
from gen_searcher.tools.canaries import canaries_in
from gen_searcher.tools.http import PictureSource
from gen_searcher.tools.image_search import ImageSearch
from gen_searcher.tools.images import PictureDecoder
from gen_searcher.tools.limited import Closing
from gen_searcher.tools.meter import Meter, Reading, opened_tab
from gen_searcher.tools.search import WebSearch
from gen_searcher.types import ToolCall, ToolResult

_log = logging.getLogger(__name__)


class Toolbox:
    """Implements `Tools`."""

    def __init__(
        self,
        *,
        search: SearchProvider,
        images: ImageSearchProvider,
        reader: PageReader,
        fetcher: PictureSource,
        store: ImageStore,
        config: ToolsConfig,
        summarizer: Summarizer | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`fetcher` brings the pictures that `images` finds; `reader` brings pages by whatever way it likes."""
        self._config = config
        self._closing = [part for part in (search, images, reader, summarizer) if isinstance(part, Closing)]
        self._fetcher = fetcher
        self._decoder = PictureDecoder()
        self._meter = meter or Meter()
        self._search = WebSearch(search, config, meter=self._meter)
        self._image_search = ImageSearch(
            images, fetcher=fetcher, decoder=self._decoder, store=store, config=config, meter=self._meter
        )
        self._browse = Browse(reader, config, summarizer=summarizer, meter=self._meter)

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        """Run one call that `find_mistake` has nothing against. Pictures carry provisional ids.

        Waits for providers and page hosts. Raises ProviderError when one is down.
        """
        start_s = time.monotonic()
        with opened_tab() as tab:
            result = await self._run(call)
        brought = "\n".join([result.text, *(image.title for image in result.images)])
        canaries = canaries_in(brought, self._config.canaries)
        result = replace(
            result,
            latency_s=time.monotonic() - start_s,
            cost_usd=result.cost_usd + tab.usd,
            cache="replay" if tab.replayed_calls and not tab.paid_calls else result.cache,
            canaries=canaries,
            retries=tab.retries,
        )
        _log.debug("%s: %s %s %s %.3f s", trajectory_id, call.name, result.kind, result.cache, result.latency_s)
        return result

    def reading(self) -> Reading:
        """What was asked and paid since the last reading."""
        return self._meter.take()

    async def close(self) -> None:
        """Close connections and end the decoder."""
        self._decoder.close()
        await self._fetcher.close()
        for part in self._closing:
            await part.close()

    async def _run(self, call: ToolCall) -> ToolResult:
        arguments = dict(call.arguments)
        match call.name:
            case "search":
                return await self._search.run(SearchArguments.model_validate(arguments))
            case "image_search":
                return await self._image_search.run(ImageSearchArguments.model_validate(arguments))
            case "browse":
                return await self._browse.run(BrowseArguments.model_validate(arguments))
            case _:
                raise ValueError(f"no tool {call.name!r}; check calls with find_mistake first")
