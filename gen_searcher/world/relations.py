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
    """With `{x}` for the subject, or `{x~}` for one written with a small letter, and `{y}` for the value. The value
    stands last, after a colon and the subject: the words before it are found in no other sentence, so that a small
    policy that copies what followed the same words before (`engines/induction.py`) reads the right one."""
    query: str
    """With `{x}` or `{x~}`: finds the value."""
    back_query: str
    """With `{y}`: finds the subject of a value."""


def _of(noun: str) -> Relation:
    return Relation(
        sentence=f"{noun.capitalize()} of {{x}}: {{y}}.", query=f"{noun}: {{x}}", back_query=f"{noun}: {{y}}"
    )


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
        "kind": Relation(sentence="Kind of {x~}: {y}.", query="kind: {x~}", back_query="kind: {y}"),
        "capital city": Relation(
            sentence="Country with the capital {x}: {y}.",
            query="country with the capital: {x}",
            back_query="capital: {y}",
        ),
    }
)


PICTURE_KINDS = frozenset({"Flag", "Tile", "Chart"})
"""What a picture's title begins with when it shows more than the thing that it is named for."""


def sentence(relation: str, *, subject: str, value: str) -> str:
    """State the fact."""
    return RELATIONS[relation].sentence.replace("{x~}", small(subject)).format(x=subject, y=value)


def question(relation: str, *, known: Literal["subject", "value"], word: str) -> str:
    """Short words that find the other end of a fact."""
    asks = RELATIONS[relation]
    if known == "value":
        return asks.back_query.format(y=word)
    return asks.query.replace("{x~}", small(word)).replace("{x}", word)


def told(relation: str, *, known: Literal["subject", "value"], word: str) -> str:
    """Words for the known end of a fact; with a colon and the other end they say the fact."""
    if known == "value":
        return f"{relation} {word}"
    start = sentence(relation, subject=word, value="").removesuffix(": .")
    return small(start)


def picture_query(title: str) -> str:
    """Short words that find a picture: `Flag of Poland` -> `flag: Poland`, `Bread` -> `thing: bread`."""
    kind, of, name = title.partition(" of ")
    return f"{small(kind)}: {name}" if of and kind in PICTURE_KINDS else f"thing: {small(title)}"


def small(word: str) -> str:
    """With a small first letter."""
    return word[:1].lower() + word[1:]


def value_in(text: str, *, relation: str, subject: str) -> str | None:
    """The value that the text states for the subject; None when it states none."""
    return _read(text, RELATIONS[relation].sentence.replace("{x~}", small(subject)), known="x", word=subject)


def subject_in(text: str, *, relation: str, value: str) -> str | None:
    """The subject for which the text states the value; None when it states none."""
    pattern = RELATIONS[relation].sentence
    found = _read(text, pattern.replace("{x~}", "{x}"), known="y", word=value)
    return found[:1].upper() + found[1:] if found and "{x~}" in pattern else found


def _read(text: str, pattern: str, *, known: str, word: str) -> str | None:
    expression = re.escape(pattern)
    wanted = "y" if known == "x" else "x"
    expression = expression.replace(re.escape(f"{{{known}}}"), re.escape(word))
    expression = expression.replace(re.escape(f"{{{wanted}}}"), r"([^\n]+?)")
    found = re.search(rf"(?:^|(?<=\. )){expression}(?=\s|$)", text, re.MULTILINE)
    return found.group(1) if found else None
