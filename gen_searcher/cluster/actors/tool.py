"""A tool worker: search, image search and browsing behind one door, on tape and under limits."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from gen_searcher.cassette.seams import TapedImageSearch, TapedPictures, TapedReader, TapedSearch, TapedSummarizer
from gen_searcher.cassette.tape import Identity, Tape, canonical, provider_name
from gen_searcher.cluster.actors.traced import TracedActor, trace_actor
from gen_searcher.cluster.limits import RemoteAuthority
from gen_searcher.cluster.once import Once
from gen_searcher.cluster.watched import Watch
from gen_searcher.config.agent import SearchConfig, ToolsConfig
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.config.plug import Plug
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.process import TraceSetup, flush
from gen_searcher.metrics.traces.spans import Attributes, span, under
from gen_searcher.protocols import ImageSearchProvider, PageReader, SearchProvider, Summarizer
from gen_searcher.tools.calling import Authority, Caller
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.limited import (
    LimitedImageSearch,
    LimitedReader,
    LimitedSearch,
    LimitedSummarizer,
    price_usd,
    timeout_s,
)
from gen_searcher.tools.meter import Meter, Reading
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import ToolCall, ToolResult
from gen_searcher.world.adversity import adverse_world
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.world import DOMAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What a tool worker is built from."""

    search: SearchConfig
    tools: ToolsConfig
    limits: LimitsConfig
    cassette: CassetteConfig
    images: str
    """Folder of the image store."""
    tape_folder: str
    """Of the cassette, unless the settings name another one."""
    trace: TraceSetup | None = None
    """None: no traces."""


class ToolActor(TracedActor):
    """`Tools` behind an actor."""

    def __init__(self, spec: ToolSpec, name: str) -> None:
        """Nothing is built yet: the first call builds the providers. `name` begins the name of its leases' holder."""
        trace_actor(spec.trace, role="tool")
        self._toolbox = Once(lambda: _open(spec, name))
        self._calls = Watch()

    async def ready(self) -> bool:
        """True once the providers are built."""
        await self._toolbox()
        return True

    async def close(self) -> None:
        """Close connections."""
        toolbox = await self._toolbox()
        await toolbox.close()

    async def reading(self) -> Reading:
        """What was asked and paid since the last reading."""
        toolbox = await self._toolbox()
        return toolbox.reading()

    async def retire(self) -> Reading:
        """Finish what the rollout workers asked for, close connections, and tell what was not read yet."""
        toolbox = await self._toolbox()
        await self._calls.none()
        reading = toolbox.reading()
        await toolbox.close()
        await flush()
        return reading

    async def call(self, call: ToolCall, trajectory_id: str, trace: str | None = None) -> ToolResult:
        """Run one tool call. `trace`: the caller's span."""
        toolbox = await self._toolbox()
        about = {names.OPERATION: "execute_tool", names.TOOL: call.name, names.TOOL_TYPE: "datastore"}
        with self._calls.working(), under(trace), span(f"execute_tool {call.name}", about) as this:
            result = await toolbox.call(call, trajectory_id=trajectory_id)
            this.note(_came(result))
            return result


def _came(result: ToolResult) -> Attributes:
    return {
        names.RESULT: str(result.kind),
        names.CACHE: result.cache,
        names.COST_USD: result.cost_usd,
        names.IMAGES: len(result.images),
    }


async def _open(spec: ToolSpec, name: str) -> Toolbox:
    hosts: Mapping[str, Address] = await _own_hosts(spec.search) if spec.search.world_server else {}
    holder = f"{name}-{uuid.uuid4().hex[:8]}"  # a restarted worker must not give back what the one before it has used
    return build_toolbox(spec, name=holder, authority=RemoteAuthority(), hosts=hosts)


def build_toolbox(spec: ToolSpec, *, name: str, authority: Authority, hosts: Mapping[str, Address]) -> Toolbox:
    """Each provider under its limits, each answer on tape. `hosts` are sent to addresses of ours."""
    meter = Meter()
    tape = Tape(spec.cassette, folder=Path(spec.tape_folder), meter=meter)
    fetcher = Fetcher(spec.search.fetch, allow=hosts)
    pictures = TapedPictures(fetcher, tape, _fetched_by("fetch", spec.search))

    def caller(plug: Plug, provider: object, stage: str) -> Caller:
        return Caller(
            provider_name(plug),
            stage=stage,
            authority=authority,
            limits=spec.limits,
            meter=meter,
            holder=name,
            price_usd=price_usd(provider),
            timeout_s=timeout_s(provider),
        )

    found, seen = spec.search.search_plug, spec.search.images_plug
    search = cast("SearchProvider", found.build())
    images = cast("ImageSearchProvider", seen.build())
    reader: PageReader = GuardedReader(fetcher=fetcher)
    who = _fetched_by("guardedreader", spec.search)
    if spec.search.reader is not None:
        named = cast("PageReader", spec.search.reader.build())
        reader, who = LimitedReader(named, caller(spec.search.reader, named, "browse")), Identity.of(spec.search.reader)
    summarizer: Summarizer | None = None
    if spec.search.summarizer is not None:
        plug = spec.search.summarizer
        model = cast("Summarizer", plug.build())
        summarizer = TapedSummarizer(LimitedSummarizer(model, caller(plug, model, "browse")), tape, Identity.of(plug))
    return Toolbox(
        search=TapedSearch(LimitedSearch(search, caller(found, search, "search")), tape, Identity.of(found)),
        images=TapedImageSearch(
            LimitedImageSearch(images, caller(seen, images, "image_search")), tape, Identity.of(seen)
        ),
        reader=TapedReader(reader, tape, who),
        fetcher=pictures,
        store=ImageStore(Path(spec.images)),
        config=spec.tools,
        summarizer=summarizer,
        meter=meter,
    )


def _fetched_by(provider: str, config: SearchConfig) -> Identity:
    """Our own fetcher: what it takes, and what becomes of the world it takes it from, decide what it brings."""
    settings: dict[str, JsonValue] = {
        "max_bytes": config.fetch.max_bytes,
        "max_redirects": config.fetch.max_redirects,
    }
    if config.adversity.is_on:
        settings["adversity"] = config.adversity.model_dump(mode="json")
    takes = canonical(settings)
    return Identity(provider=provider, revision=hashlib.sha256(takes.encode()).hexdigest()[:16])


async def _own_hosts(config: SearchConfig) -> Mapping[str, Address]:
    """Serve the embedded world, as adverse as it is set, for as long as this process lives."""
    web = adverse_world(config.adversity)
    address = await EmbeddedServer(web.world, service=web.service).start()
    return {DOMAIN: Address(host=address.host, port=address.port)}
