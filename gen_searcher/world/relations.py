"""The sentences in which the world states its facts, and the words that find them.

Pages are written with them, tasks name them, and the scripted teacher reads facts back out of snippets with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One kind of fact about a subject."""

    sentence: str
    """With `{x}` for the subject and `{y}` for the value."""
    query: str
    """With `{x}`, or `{x~}` for a subject that a sentence writes with a small letter: finds the value."""
    back_query: str
    """With `{y}`: finds the subject of a value."""


def _of(noun: str) -> Relation:
    return Relation(sentence=f"The {noun} of {{x}} is {{y}}.", query=f"{noun} of {{x}}", back_query=f"{noun} {{y}}")


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        noun: _of(noun)
        for noun in (
            "capital",
            "currency",
            "demonym",
            "internet domain",
            "calling code",
            "continent",
            "area",
            "population",
            "symbol",
            "atomic number",
            "discovery year",
            "discovery country",
            "discoverer",
            "namesake country",
            "meaning",
            "genitive",
            "brightest star",
            "constellation",
            "magnitude",
            "year",
            "country",
            "director",
            "birth year",
        )
    }
    | {
        "kind": Relation(sentence="{x} is a kind of {y}.", query="kind of {x~}", back_query="kind of {y}"),
        "capital city": Relation(
            sentence="{x} is the capital of {y}.", query="capital {x}", back_query="capital of {y}"
        ),
    }
)


def sentence(relation: str, *, subject: str, value: str) -> str:
    """State the fact."""
    return RELATIONS[relation].sentence.format(x=subject, y=value)


def question(relation: str, *, known: Literal["subject", "value"], word: str) -> str:
    """Short words that find the other end of a fact."""
    asks = RELATIONS[relation]
    if known == "value":
        return asks.back_query.format(y=word)
    return asks.query.replace("{x~}", small(word)).replace("{x}", word)


def small(word: str) -> str:
    """With a small first letter."""
    return word[:1].lower() + word[1:]


def value_in(text: str, *, relation: str, subject: str) -> str | None:
    """The value that the text states for the subject; None when it states none."""
    return _read(text, RELATIONS[relation].sentence, known="x", word=subject)


def subject_in(text: str, *, relation: str, value: str) -> str | None:
    """The subject for which the text states the value; None when it states none."""
    return _read(text, RELATIONS[relation].sentence, known="y", word=value)


def _read(text: str, pattern: str, *, known: str, word: str) -> str | None:
    expression = re.escape(pattern)
    wanted = "y" if known == "x" else "x"
    expression = expression.replace(re.escape(f"{{{known}}}"), re.escape(word))
    expression = expression.replace(re.escape(f"{{{wanted}}}"), r"([^\n]+?)")
    found = re.search(rf"(?:^|(?<=\. )){expression}(?=\s|$)", text, re.MULTILINE)
    return found.group(1) if found else None
