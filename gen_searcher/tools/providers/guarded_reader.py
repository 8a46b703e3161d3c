"""Reads pages straight from the web: URL -> guarded fetch -> HTML -> readable text."""

# trafilatura ships no types
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import codecs
import functools
from configparser import ConfigParser
from typing import cast

import trafilatura
from trafilatura.settings import use_config

from gen_searcher.config.agent import FetchConfig
from gen_searcher.tools.http import Fetched, Fetcher, Gone
from gen_searcher.web import Page, writable

_HTML = ("text/html", "application/xhtml+xml")
_TYPES = (*_HTML, "text/plain")

MAX_TEXT_CHARS = 200_000
"""Readable text kept of one page."""

_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
"""Codecs of Python that browsers know no charset by: they fail whatever is asked of errors, spell lone surrogates, or
take hours for a page."""


class GuardedReader:
    """Implements `PageReader`. Raises `Refused` for addresses and responses that are not taken."""

    def __init__(self, *, fetcher: Fetcher | None = None) -> None:
        """Without a `fetcher`, one with default settings is made."""
        self._fetcher = fetcher or Fetcher(FetchConfig())

    async def read(self, url: str) -> Page | None:
        """The page, or None when the server says there is none."""
        try:
            fetched = await self._fetcher.get(url, stage="browse", types=_TYPES)
        except Gone:
            return None
        return await asyncio.to_thread(readable, fetched)

    async def close(self) -> None:
        """Close all connections."""
        await self._fetcher.close()


def readable(fetched: Fetched) -> Page:
    """Title and main text of a response."""
    if fetched.content_type not in _HTML:
        return Page(url=fetched.url, title="", text=_text(fetched)[:MAX_TEXT_CHARS])
    source = fetched.body if fetched.charset is None else _text(fetched)
    tree = trafilatura.load_html(source)
    if tree is None:
        return Page(url=fetched.url, title="", text="")
    title = cast("str | None", tree.findtext(".//title")) or ""
    text = trafilatura.extract(
        tree, include_comments=False, include_tables=True, favor_recall=True, config=_short_pages_too()
    )
    text = text or ""
    return Page(url=fetched.url, title=writable(" ".join(title.split())), text=writable(text[:MAX_TEXT_CHARS]))


@functools.cache
def _short_pages_too() -> ConfigParser:
    """Without this a page of few words is run together into one line."""
    config = use_config()
    for key in ("MIN_EXTRACTED_SIZE", "MIN_OUTPUT_SIZE"):
        config.set("DEFAULT", key, "1")
    return config


def _text(fetched: Fetched) -> str:
    """In the charset that the server names, or in UTF-8 where that is none a page is written in."""
    try:
        charset = codecs.lookup(fetched.charset or "utf-8").name
        text = fetched.body.decode("utf-8" if charset in _NO_CHARSETS else charset, errors="replace")
    except (LookupError, ValueError):
        text = fetched.body.decode("utf-8", errors="replace")
    return writable(text)
