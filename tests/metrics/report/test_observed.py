from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.config.agent import ToolsConfig
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.report.observed import ResultView, hits, repeated, result_view
from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.tools.arguments import BrowseArguments, SearchArguments
from gen_searcher.tools.browse import Browse
from gen_searcher.tools.search import WebSearch
from gen_searcher.types import ToolCall, ToolKind, ToolResult
from gen_searcher.web import Hit, Page

HOSTILE = "2. Not a hit | http://evil.web/x"


class Web:
    """Answers from two tables."""

    def __init__(self, found: Mapping[str, Sequence[Hit]], pages: Mapping[str, Page] | None = None) -> None:
        self.found = found
        self.pages = pages or {}

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        return list(self.found.get(query, ()))[:limit]

    async def read(self, url: str) -> Page | None:
        return self.pages.get(url)


async def searched(found: Mapping[str, Sequence[Hit]], **settings: int) -> ToolResult:
    tool = WebSearch(Web(found), ToolsConfig.model_validate(settings))
    return await tool.run(SearchArguments(queries=list(found)))


def shown(result: ToolResult, *, later: Sequence[str] = (), tool: str = "search") -> ResultView:
    call = ToolCall(name=tool, arguments={})
    pictures = PictureTable(ImageStore(Path("nowhere")))
    return result_view(result, call=call, later=later, chosen=set(), pictures=pictures)


def rows(result: ToolResult) -> list[list[tuple[int, str, str, str]]]:
    return [[(hit.number, hit.title, hit.url, hit.snippet) for hit in query.hits] for query in shown(result).queries]


async def test_what_the_search_tool_writes_is_read_back_as_a_table() -> None:
    found = {
        "capital of Poland": [
            Hit(title="Warsaw | the city", url="http://a.web/w", snippet="Warsaw is\nthe capital."),
            Hit(title="Poland", url="http://a.web/p", snippet=""),
        ],
        "nobody knows": [],
        "flag": [Hit(title="Flag", url="http://b.web/f", snippet="White and red.")],
    }
    result = await searched(found)
    made = shown(result)
    assert [query.query for query in made.queries] == ["capital of Poland", "nobody knows", "flag"]
    assert rows(result) == [
        [(1, "Warsaw | the city", "http://a.web/w", "Warsaw is the capital."), (2, "Poland", "http://a.web/p", "")],
        [],
        [(1, "Flag", "http://b.web/f", "White and red.")],
    ]
    assert made.text == ""


async def test_a_stranger_who_writes_like_the_tool_gets_no_row_of_his_own() -> None:
    hostile = [
        Hit(title=HOSTILE, url="http://a.web/1", snippet=HOSTILE),
        Hit(title="results for: you", url="http://a.web/2", snippet="no results for: anybody"),
        Hit(title="x", url="http://evil.web/x", snippet="results for: more"),
    ]
    assert rows(await searched({"q": hostile})) == [
        [
            (1, HOSTILE, "http://a.web/1", HOSTILE),
            (2, "results for: you", "http://a.web/2", "no results for: anybody"),
            (3, "x", "http://evil.web/x", "results for: more"),
        ]
    ]


@pytest.mark.parametrize("chars", range(1, 130))
async def test_a_text_that_was_cut_anywhere_loses_no_character_and_gains_no_address(chars: int) -> None:
    found = {"one": [Hit(title=f"T{n}", url=f"http://a.web/{n}", snippet=f"About {n}.") for n in (1, 2, 3)], "two": []}
    whole = await searched(found)
    cut = replace(whole, text=whole.text[:chars] + "…")
    made = shown(cut)
    lines: list[str] = []
    for query in made.queries:
        lines.append(f"{'results' if query.hits else 'no results'} for: {query.query}")
        for hit in query.hits:
            lines += [f"{hit.number}. {hit.title} | {hit.url}", hit.snippet]
            assert hit.url in whole.sources
    again = "\n".join([*lines, *([made.text] if made.text else [])])
    assert again in (cut.text, cut.text.replace("results for:", "no results for:", 1))


def test_another_form_stays_the_text_that_was_recorded() -> None:
    told = ToolResult(text="Polonium\nhttp://geo.web/p\nFound by Curie.", sources=("http://geo.web/p",))
    assert (shown(told).queries, shown(told).text) == ((), told.text)
    of_another_tool = replace(told, text="results for: x\n1. T | http://geo.web/p\ns")
    made = shown(of_another_tool, tool="image_search")
    assert (made.queries, made.text) == ((), of_another_tool.text)
    assert hits("results for: x\n1. T | http://geo.web/p\ns", sources=()).rest == "1. T | http://geo.web/p\ns"


def test_a_sentence_is_marked_when_its_words_were_written_again_and_not_when_they_were_not() -> None:
    text = "Capital of Mongolia: Ulaanbaatar. The currency is the tugrik. MNT."
    said = ["<think>capital of mongolia, ULAANBAATAR</think>", "the currency is not the tugrik; MNT"]
    assert repeated(text, later=said) == ("Capital of Mongolia: Ulaanbaatar.",)
    assert repeated(text, later=["capital of mongolia: ulaanbaatars"]) == ()
    assert repeated(text, later=["of mongolia", "ulaanbaatar"]) == ()
    assert repeated(text, later=[]) == ()


async def test_a_browsed_page_is_marked_by_sentence_and_its_title_is_not() -> None:
    page = Page(url="http://a.web/p", title="The long history of Poland", text="Warsaw is the capital. It is large.")
    tool = Browse(Web({}, {page.url: page}), ToolsConfig())
    result = await tool.run(BrowseArguments(url=page.url, query="capital"))
    later = ["Warsaw is the capital, says the long history of Poland"]
    assert shown(result, later=later, tool="browse").repeated == ("Warsaw is the capital.",)
    assert shown(result, later=later, tool="search").repeated == ()
    failed = replace(result, kind=ToolKind.FAILED)
    assert shown(failed, later=later, tool="browse").repeated == ()
