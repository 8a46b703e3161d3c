"""The `search` tool: queries -> pages with a snippet each, as text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.protocols import SearchProvider
from gen_searcher.tools.arguments import SearchArguments
from gen_searcher.tools.blocked import Blocklist
from gen_searcher.tools.cache import Cached, RequestCache
from gen_searcher.tools.meter import Meter
from gen_searcher.tools.words import clip, one_line
from gen_searcher.types import ToolKind, ToolResult
from gen_searcher.web import Hit


class WebSearch:
    """Asks the provider each query once per run."""

    def __init__(self, provider: SearchProvider, config: ToolsConfig, *, meter: Meter | None = None) -> None:
        """`provider` finds pages; `meter` counts queries."""
        self._provider = provider
        self._config = config
        self._blocked = Blocklist(config.blocked_hosts)
        self._meter = meter or Meter()
        self._asked: RequestCache[str, list[Hit]] = RequestCache(config.cache_entries, meter=self._meter)

    async def run(self, arguments: SearchArguments) -> ToolResult:
        """All queries at once. Raises ProviderError."""
        queries = list(dict.fromkeys(arguments.queries))
        answers = await asyncio.gather(*(self._ask(query) for query in queries))
        limit = min(arguments.top_k or self._config.hits_per_search, self._config.hits_per_search)
        found = [self._allowed(answer.value)[:limit] for answer in answers]
        blocks = [self._block(query, hits) for query, hits in zip(queries, found, strict=True)]
        return ToolResult(
            text=clip("\n".join(blocks), self._config.observation_chars),
            kind=ToolKind.OK if any(found) else ToolKind.EMPTY,
            sources=tuple(dict.fromkeys(hit.url for hits in found for hit in hits)),
            cache="hit" if all(answer.is_hit for answer in answers) else "miss",
        )

    async def _ask(self, query: str) -> Cached[list[Hit]]:
        return await self._asked.get(query, lambda: self._provider.search(query, limit=self._config.hits_per_search))

    def _allowed(self, hits: Sequence[Hit]) -> list[Hit]:
        allowed = [hit for hit in hits if not self._blocked.holds(hit.url)]
        self._meter.add("tool/blocked_count", len(hits) - len(allowed))
        return allowed

    def _block(self, query: str, hits: Sequence[Hit]) -> str:
        if not hits:
            return f"no results for: {one_line(query, self._config.title_chars)}"
        lines = [f"results for: {one_line(query, self._config.title_chars)}"]
        for number, hit in enumerate(hits, start=1):
            lines.append(f"{number}. {one_line(hit.title, self._config.title_chars)} | {one_line(hit.url, 500)}")
            lines.append(one_line(hit.snippet, self._config.snippet_chars))
        return "\n".join(lines)
