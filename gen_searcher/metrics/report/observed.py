"""What a tool brought -> what the page shows of it: hits as a table, pictures by their keys, the rest as text.

Nothing is read into a text: what has not exactly the form in which the tools write stays as it was recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.metrics.report.texts import cut
from gen_searcher.types import ToolCall, ToolKind, ToolResult

FEWEST_WORDS = 3
"""A shorter sentence is found in what somebody writes without having been read anywhere."""

_FOUND = "results for: "
_NOTHING = "no results for: "
_PAGE = "page: "
_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundView:
    """A picture that a tool brought back."""

    img_id: str
    title: str
    url: str
    picture: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HitView:
    """One page that a search found, as the policy read of it."""

    number: int
    """From 1, as the policy read it."""
    title: str
    url: str
    snippet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryView:
    """One query of a search."""

    query: str
    hits: tuple[HitView, ...]
    """Best first; empty when nothing was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView:
    """What a tool answered."""

    kind: str
    reason: str
    text: str
    """What the policy read, less what `queries` holds."""
    queries: tuple[QueryView, ...]
    """Of a search; empty for other tools, and where the text has another form."""
    repeated: tuple[str, ...]
    """Sentences of the snippets or of the browsed page that the policy itself wrote in a later turn."""
    cache: str
    retries: int
    """Requests that were made again because one had failed."""
    latency_s: float
    cost_usd: float
    canaries: tuple[str, ...]
    """Signs of an injection in what was brought."""
    sources: tuple[str, ...]
    images: tuple[FoundView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """A search's text, taken apart."""

    queries: tuple[QueryView, ...]
    rest: str
    """From the first line on that has another form, such as one that was cut."""


def result_view(
    result: ToolResult, *, call: ToolCall | None, later: Sequence[str], chosen: set[str], pictures: PictureTable
) -> ResultView:
    """The result of `call`. `later` is what the policy wrote afterwards, `chosen` the ids of its references."""
    found = Hits(queries=(), rest=cut(result.text))
    told: Iterator[str] = iter(())
    if call is not None and call.name == "search":
        found = hits(found.rest, sources=result.sources)
        told = (hit.snippet for query in found.queries for hit in query.hits)
    elif call is not None and call.name == "browse" and result.kind is ToolKind.OK:
        told = (line for line in found.rest.split("\n") if not line.startswith(_PAGE))
    return ResultView(
        kind=result.kind,
        reason=result.reason,
        text=found.rest,
        queries=found.queries,
        repeated=repeated("\n".join(told), later=later),
        cache=result.cache,
        retries=result.retries,
        latency_s=round(result.latency_s, 3),
        cost_usd=result.cost_usd,
        canaries=result.canaries,
        sources=result.sources,
        images=tuple(
            FoundView(
                img_id=one.img_id,
                title=one.title,
                url=one.url,
                picture=pictures.key(one.image),
                is_chosen=one.img_id in chosen,
            )
            for one in result.images
        ),
    )


def hits(text: str, *, sources: Sequence[str]) -> Hits:
    """The text of a search as `tools/search.py` writes it: per query one line, per hit two, a snippet being one line.

    Lines are taken by their place, never by their looks: a title or a snippet can spell anything. A line counts as
    a hit only when it ends in one of the `sources`, so that one whose address was cut does not.
    """
    addresses = {" ".join(source.split()) for source in sources}
    lines = text.split("\n")
    queries: list[QueryView] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(_FOUND):
            rows = _rows(lines[at + 1 :], addresses=addresses)
            queries.append(QueryView(query=line.removeprefix(_FOUND), hits=rows))
            at += 1 + 2 * len(rows)
        elif line.startswith(_NOTHING):
            queries.append(QueryView(query=line.removeprefix(_NOTHING), hits=()))
            at += 1
        else:
            break
    return Hits(queries=tuple(queries), rest="\n".join(lines[at:]))


def _rows(lines: Sequence[str], *, addresses: set[str]) -> tuple[HitView, ...]:
    rows: list[HitView] = []
    for at in range(0, len(lines) - 1, 2):
        number = f"{len(rows) + 1}. "
        title, _, address = lines[at].removeprefix(number).rpartition(" | ")
        if not lines[at].startswith(number) or address not in addresses:
            break
        rows.append(HitView(number=len(rows) + 1, title=title, url=address, snippet=lines[at + 1]))
    return tuple(rows)


def repeated(text: str, *, later: Sequence[str]) -> tuple[str, ...]:
    """Sentences of `text` whose words stand in one of the `later` texts in this order and without others between.

    Case and punctuation do not count. A sentence that somebody used and said in other words is not among them.
    """
    spoken = [f" {_words(one)} " for one in later]
    sentences = dict.fromkeys(part.strip() for part in _SENTENCE_END.split(text))
    return tuple(
        sentence
        for sentence in sentences
        if (said := _words(sentence)).count(" ") + 1 >= FEWEST_WORDS and any(f" {said} " in one for one in spoken)
    )


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))
