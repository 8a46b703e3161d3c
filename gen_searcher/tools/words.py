"""Small habits with text: one line, a bounded length, words and sentences."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"\n+|(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


def clip(text: str, chars: int) -> str:
    """At most `chars` characters; a cut is marked by an ellipsis."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def one_line(text: str, chars: int) -> str:
    """The text on one line, clipped."""
    return clip(" ".join(text.split()), chars)


def words(text: str) -> frozenset[str]:
    """The words of a text, without case."""
    return frozenset(_WORD.findall(text.casefold()))


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, each on one line."""
    return [" ".join(part.split()) for part in _SENTENCE_END.split(text) if part.strip()]
