"""The `browse` tool: page -> the sentences that bear on the query."""

from __future__ import annotations

from collections import Counter

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.protocols import PageReader
from gen_searcher.tools.arguments import BrowseArguments
from gen_searcher.tools.cache import RequestCache
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.words import clip, one_line, sentences, words
from gen_searcher.types import Page, ToolKind, ToolResult


class Browse:
    """Reads each page once per run."""

    def __init__(self, reader: PageReader, config: ToolsConfig) -> None:
        """`reader` reads pages; it may raise `Refused` for an address it does not take."""
        self._reader = reader
        self._config = config
        self._read: RequestCache[str, Page | Refused] = RequestCache(config.cache_entries)

    async def run(self, arguments: BrowseArguments) -> ToolResult:
        """One page. A page that is not there is a `FAILED` result; raises ProviderError when its host is down."""
        url = arguments.url
        answer = await self._read.get(url, lambda: self._page(url))
        cache = "hit" if answer.is_hit else "miss"
        page = answer.value
        if isinstance(page, Refused):
            text = f"browse failed: {page.reason}"
            return ToolResult(text=text, kind=ToolKind.FAILED, reason=page.reason, cache=cache)
        title = one_line(page.title, self._config.title_chars) or "untitled"
        body = extract(_without_title(page), query=arguments.query, chars=self._config.extract_chars)
        return ToolResult(
            text=clip(f"page: {title}\n{body or 'no readable text'}", self._config.observation_chars),
            kind=ToolKind.OK if body else ToolKind.EMPTY,
            sources=(page.url,),
            cache=cache,
        )

    async def _page(self, url: str) -> Page | Refused:
        try:
            page = await self._reader.read(url)
        except Refused as refused:
            return Refused(refused.reason)  # without the frames of the one that was raised
        return Refused("there is no such page") if page is None else page


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
