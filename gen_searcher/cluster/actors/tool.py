"""A tool worker: search, image search and browsing behind one door."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gen_searcher.cluster.once import Once
from gen_searcher.config.agent import SearchConfig, ToolsConfig
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageSearchProvider, PageReader, SearchProvider, Summarizer
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import ToolCall, ToolResult
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.world import DOMAIN, World


class ToolActor:
    """`Tools` behind an actor."""

    def __init__(self, search: SearchConfig, tools: ToolsConfig, images: str) -> None:
        """Nothing is built yet: the first call builds the providers."""
        self._toolbox = Once(lambda: _build(search, tools, ImageStore(Path(images))))

    async def ready(self) -> bool:
        """True once the providers are built."""
        await self._toolbox()
        return True

    async def close(self) -> None:
        """Close connections."""
        toolbox = await self._toolbox()
        await toolbox.close()

    async def call(self, call: ToolCall, trajectory_id: str) -> ToolResult:
        """Run one tool call."""
        toolbox = await self._toolbox()
        return await toolbox.call(call, trajectory_id=trajectory_id)


async def _build(search: SearchConfig, tools: ToolsConfig, store: ImageStore) -> Toolbox:
    fetcher = Fetcher(search.fetch, allow=await _own_hosts() if search.world_server else {})
    reader = GuardedReader(fetcher=fetcher) if search.reader is None else cast("PageReader", search.reader.build())
    return Toolbox(
        search=cast("SearchProvider", search.search.build()),
        images=cast("ImageSearchProvider", search.images.build()),
        reader=reader,
        fetcher=fetcher,
        store=store,
        config=tools,
        summarizer=None if search.summarizer is None else cast("Summarizer", search.summarizer.build()),
    )


async def _own_hosts() -> Mapping[str, Address]:
    """Serve the embedded world for as long as this process lives."""
    address = await EmbeddedServer(World.load()).start()
    return {DOMAIN: Address(host=address.host, port=address.port)}
