"""The `browse` tool: page -> the sentences that bear on the query."""

from __future__ import annotations

import asyncio
from collections import Counter

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.protocols import PageReader, Summarizer
from gen_searcher.tools.arguments import BrowseArguments
from gen_searcher.tools.blocked import Blocklist
from gen_searcher.tools.cache import RequestCache
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.meter import Meter
from gen_searcher.tools.words import clip, one_line, sentences, words
from gen_searcher.types import ToolKind, ToolResult
from gen_searcher.web import Page, Summary


class Browse:
    """Reads each page once per run, and asks the summarizer, if there is one, each question about it once."""

    def __init__(
        self,
        reader: PageReader,
        config: ToolsConfig,
        *,
        summarizer: Summarizer | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`reader` reads pages; it may raise `Refused` for an address it does not take. `meter` counts what is asked."""
        self._reader = reader
        self._config = config
        self._blocked = Blocklist(config.blocked_hosts)
        self._meter = meter or Meter()
        self._digest = Extractor(chars=config.extract_chars) if summarizer is None else summarizer
        self._read: RequestCache[str, Page | Refused] = RequestCache(config.cache_entries, meter=meter)
        self._told: RequestCache[tuple[str, str], Summary] = RequestCache(
            config.cache_entries, meter=None if summarizer is None else meter
        )

    async def run(self, arguments: BrowseArguments) -> ToolResult:
        """The pages, at once. One that is not there is a `FAILED` result; raises ProviderError when a host is down."""
        urls = [arguments.url] if isinstance(arguments.url, str) else list(dict.fromkeys(arguments.url))
        results = await asyncio.gather(*(self._one(url, arguments.query) for url in urls))
        if len(results) == 1:
            return results[0]
        kinds = {result.kind for result in results}
        kind = next(kind for kind in (ToolKind.OK, ToolKind.FAILED, ToolKind.EMPTY) if kind in kinds)
        return ToolResult(
            text=clip("\n".join(result.text for result in results), self._config.observation_chars),
            kind=kind,
            reason="; ".join(result.reason for result in results) if kind is ToolKind.FAILED else "",
            sources=tuple(dict.fromkeys(url for result in results for url in result.sources)),
            cost_usd=sum(result.cost_usd for result in results),
            cache="hit" if all(result.cache == "hit" for result in results) else "miss",
        )

    async def _one(self, url: str, query: str) -> ToolResult:
        answer = await self._read.get(url, lambda: self._page(url))
        page = answer.value
        if isinstance(page, Refused):
            text = f"browse failed: {page.reason}"
            cache = "hit" if answer.is_hit else "miss"
            return ToolResult(text=text, kind=ToolKind.FAILED, reason=page.reason, cache=cache)
        told = await self._told.get((url, query), lambda: self._digest.summarize(page, query=query))
        title = one_line(page.title, self._config.title_chars) or "untitled"
        nothing = "nothing on it bears on the query" if page.text.strip() else "no readable text"
        return ToolResult(
            text=clip(f"page: {title}\n{told.value.text or nothing}", self._config.observation_chars),
            kind=ToolKind.OK if told.value.text else ToolKind.EMPTY,
            sources=(page.url,),
            cost_usd=0.0 if told.is_hit else told.value.cost_usd,
            cache="hit" if answer.is_hit else "miss",
        )

    async def _page(self, url: str) -> Page | Refused:
        if self._blocked.holds(url):
            self._meter.add("tool/blocked_count")
            return Refused("this site cannot be read here")
        try:
            page = await self._reader.read(url)
        except Refused as refused:
            return Refused(refused.reason)  # without the frames of the one that was raised
        if page is None:
            return Refused("there is no such page")
        if self._blocked.holds(page.url):  # a redirect led there
            self._meter.add("tool/blocked_count")
            return Refused("this site cannot be read here")
        return page


class Extractor:
    """Implements `Summarizer` without a model: the sentences that share most with the query."""

    def __init__(self, *, chars: int) -> None:
        """`chars` is the longest summary."""
        self._chars = chars

    async def summarize(self, page: Page, *, query: str) -> Summary:
        """Costs nothing; a page that shares nothing gives its beginning."""
        return Summary(text=extract(_without_title(page), query=query, chars=self._chars))


def _without_title(page: Page) -> str:
    """The text, less a first line that only says the title again."""
    first, _, rest = page.text.partition("\n")
    return rest if rest and first.strip() == page.title.strip() else page.text


def extract(text: str, *, query: str, chars: int) -> str:
    """The sentences that share most with the query, in page order, one a line, at most `chars` characters in all.

    A shared word counts the more the fewer sentences of the page hold it. Ties, and a page that shares nothing, go to
    the sentence that comes first.
    """
    whole = sentences(text)
    line_words = [words(line) for line in whole]
    lines = [clip(line, chars) for line in whole]
    wanted = words(query)
    holders = Counter(word for held in line_words for word in held & wanted)
    scores = [sum(1 / holders[word] for word in held & wanted) for held in line_words]
    chosen: list[int] = []
    room = chars
    for index in sorted(range(len(lines)), key=lambda index: (-scores[index], index)):
        if len(lines[index]) + 1 <= room + (not chosen):
            chosen.append(index)
            room -= len(lines[index]) + (len(chosen) > 1)
    return "\n".join(lines[index] for index in sorted(chosen))
