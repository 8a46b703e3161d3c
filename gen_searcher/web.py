"""What the web brings: the nouns that providers hand to the tools. The policy reads them as text only."""

from __future__ import annotations

from dataclasses import dataclass


def writable(text: str) -> str:
    """The text with `?` in the place of each lone surrogate, which no file, ledger or socket takes.

    Escapes in JSON, header bytes beyond ASCII and some charsets can spell one.
    """
    return text.encode("utf-8", errors="replace").decode("utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One result of a text search."""

    title: str
    url: str
    snippet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHit:
    """One result of an image search."""

    title: str
    image_url: str
    page_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The readable text of a web page."""

    url: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a page says about a question."""

    text: str
    """Empty when the page says nothing about it."""
    cost_usd: float = 0.0
