"""What tasks are made of: families of questions and their wordings. `more_families.py` holds those for benchmarks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from gen_searcher.world.relations import small
from gen_searcher.world.vocabulary import CARD, STYLES

GIVEN = "given."
"""Prefix of the meta keys that hold the words a prompt gives away."""

BARE = (CARD,)
ALONE = ("alone",)
PAIR = ("beside", "inset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A fact to find: it fills a slot."""

    slot: str
    relation: str
    known: Literal["subject", "value"]
    """Which end of the relation is known; the other end is the slot."""
    of: str
    """The slot that holds the known end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOf:
    """What a caption may be: a relation of a slot, and the words that ask for it."""

    relation: str
    of: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of question."""

    name: str
    category: str
    """KnowGen label; empty = the label of the first subject."""
    difficulty: str
    given: tuple[str, ...]
    """Slots that the prompt tells."""
    pictures: tuple[str, ...]
    """Titles of the pictures, in the order of the layout's slots."""
    wordings: tuple[tuple[str, ...], ...]
    """Ways to name the subjects: one phrase for each picture."""
    lookups: tuple[Lookup, ...] = ()
    captions: tuple[CaptionOf, ...] = ()
    told_caption: str = ""
    """Caption that the prompt itself tells, with slots; empty when captions are to be looked up."""
    styles: tuple[str, ...] = tuple(STYLES)
    """Looks that it is asked for in."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """Layouts with as many places as there are pictures."""
        return (BARE, ALONE, PAIR)[len(self.pictures)]


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Put words into a template; `{concept~}` starts with a small letter."""

    def word(match: re.Match[str]) -> str:
        value = slots[match[1].rstrip("~")]
        return small(value) if match[1].endswith("~") else value

    return re.sub(r"\{([a-z0-9]+~?)\}", word, template)


def country_captions(*relations: str, named: bool, of: str = "country") -> tuple[CaptionOf, ...]:
    """Facts of a country, which is named in full or only pointed at."""
    who = ("of {country}",) if named else ("of that country", "of the country")
    return tuple(
        CaptionOf(relation=relation, of=of, phrases=tuple(f"the {relation} {end}" for end in who))
        for relation in relations
    )


def own_captions(of: str, *relations: str, owner: str) -> tuple[CaptionOf, ...]:
    """Facts of the thing itself, asked for with its owner's words or with `its`."""
    return tuple(
        CaptionOf(relation=relation, of=of, phrases=(f"the {relation} {owner}", f"its {relation}"))
        for relation in relations
    )


KIND = CaptionOf(
    relation="kind",
    of="concept",
    phrases=("what kind of thing the {concept~} is", "the kind of thing the {concept~} is"),
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family(
                name="flag",
                category="geography",
                difficulty="easy",
                given=("country",),
                pictures=("Flag of {country}",),
                wordings=(("the flag of {country}",), ("the national flag of {country}",), ("{country}'s flag",)),
                captions=country_captions("capital", "currency", "internet domain", "calling code", named=True),
            ),
            Family(
                name="capital-flag",
                category="geography",
                difficulty="medium",
                given=("capital",),
                lookups=(Lookup(slot="country", relation="capital city", known="subject", of="capital"),),
                pictures=("Flag of {country}",),
                wordings=(
                    ("the flag of the country whose capital is {capital}",),
                    ("the flag of the country with the capital {capital}",),
                    ("the flag of the country governed from its capital {capital}",),
                ),
                captions=country_captions("currency", "internet domain", "calling code", named=False),
            ),
            Family(
                name="two-flags",
                category="politics",
                difficulty="multiple subject",
                given=("country", "country2"),
                pictures=("Flag of {country}", "Flag of {country2}"),
                wordings=(
                    ("the flag of {country}", "the flag of {country2}"),
                    ("{country}'s flag", "{country2}'s flag"),
                ),
                captions=country_captions("capital", "currency", named=True),
            ),
            Family(
                name="element",
                category="chemistry",
                difficulty="easy",
                given=("element",),
                pictures=("Tile of {element}",),
                wordings=(("the tile of {element}",), ("the tile of the element {element}",)),
                captions=own_captions("element", "atomic number", "discovery year", "symbol", owner="of {element}"),
            ),
            Family(
                name="discovery",
                category="chemistry",
                difficulty="hard",
                given=("element",),
                lookups=(Lookup(slot="country", relation="discovery country", known="subject", of="element"),),
                pictures=("Tile of {element}", "Flag of {country}"),
                wordings=(
                    ("the tile of {element}", "the flag of its discovery country"),
                    ("the tile of the element {element}", "the flag of the country where it was discovered"),
                ),
                captions=country_captions("capital", named=False),
            ),
            Family(
                name="namesake",
                category="chemistry",
                difficulty="hard",
                given=("element",),
                lookups=(Lookup(slot="country", relation="namesake country", known="subject", of="element"),),
                pictures=("Tile of {element}", "Flag of {country}"),
                wordings=(
                    ("the tile of {element}", "the flag of its namesake country"),
                    ("the tile of the element {element}", "the flag of the country it is named for"),
                ),
                captions=country_captions("capital", "currency", named=False),
            ),
            Family(
                name="namesake-flag",
                category="chemistry",
                difficulty="medium",
                given=("element",),
                lookups=(Lookup(slot="country", relation="namesake country", known="subject", of="element"),),
                pictures=("Flag of {country}",),
                wordings=(
                    ("the flag of the namesake country of {element}",),
                    ("the flag of the country that {element} is named for",),
                ),
                captions=country_captions("capital", "currency", "internet domain", named=False),
            ),
            Family(
                name="discoverer",
                category="physics",
                difficulty="medium",
                given=("person",),
                lookups=(Lookup(slot="element", relation="discoverer", known="value", of="person"),),
                pictures=("Tile of {element}",),
                wordings=(
                    ("the tile of the element with the discoverer {person}",),
                    ("the tile of the element that {person} discovered",),
                ),
                captions=own_captions("element", "atomic number", "discovery year", owner="of that element"),
            ),
            Family(
                name="discoverer-flag",
                category="physics",
                difficulty="hard",
                given=("person",),
                lookups=(
                    Lookup(slot="element", relation="discoverer", known="value", of="person"),
                    Lookup(slot="country", relation="discovery country", known="subject", of="element"),
                ),
                pictures=("Flag of {country}",),
                wordings=(
                    ("the flag of the discovery country of the element with the discoverer {person}",),
                    ("the flag of the country where {person} discovered an element",),
                ),
                captions=country_captions("capital", named=False),
            ),
            Family(
                name="constellation",
                category="astronomy",
                difficulty="easy",
                given=("constellation",),
                pictures=("Chart of {constellation}",),
                wordings=(
                    ("the chart of {constellation}",),
                    ("the chart of the constellation {constellation}",),
                    ("the star chart of {constellation}",),
                ),
                captions=own_captions(
                    "constellation", "brightest star", "meaning", "genitive", owner="of {constellation}"
                ),
            ),
            Family(
                name="meaning",
                category="astronomy",
                difficulty="medium",
                given=("meaning",),
                lookups=(Lookup(slot="constellation", relation="meaning", known="value", of="meaning"),),
                pictures=("Chart of {constellation}",),
                wordings=(
                    ("the chart of the constellation with the meaning {meaning}",),
                    ("the star chart of the constellation whose name has the meaning {meaning}",),
                ),
                captions=own_captions("constellation", "brightest star", "genitive", owner="of that constellation"),
            ),
            Family(
                name="star",
                category="astronomy",
                difficulty="medium",
                given=("star",),
                lookups=(Lookup(slot="constellation", relation="constellation", known="subject", of="star"),),
                pictures=("Chart of {constellation}",),
                wordings=(
                    ("the chart of the constellation of {star}",),
                    ("the star chart of the constellation of the star {star}",),
                ),
                captions=(
                    CaptionOf(relation="magnitude", of="star", phrases=("the magnitude of {star}",)),
                    CaptionOf(relation="meaning", of="constellation", phrases=("the meaning of that constellation",)),
                ),
            ),
            Family(
                name="thing",
                category="",
                difficulty="easy",
                given=("concept",),
                pictures=("{concept}",),
                wordings=(("the picture of the {concept~}",), ("the {concept~}",)),
                captions=(KIND,),
            ),
            Family(
                name="two-things",
                category="",
                difficulty="multiple subject",
                given=("concept", "concept2"),
                pictures=("{concept}", "{concept2}"),
                wordings=(
                    ("the {concept~}", "the {concept2~}"),
                    ("the picture of the {concept~}", "the picture of the {concept2~}"),
                ),
                captions=(KIND,),
            ),
            Family(
                name="thing-flag",
                category="",
                difficulty="multiple subject",
                given=("concept", "country"),
                pictures=("{concept}", "Flag of {country}"),
                wordings=(
                    ("the {concept~}", "the flag of {country}"),
                    ("the picture of the {concept~}", "{country}'s flag"),
                ),
                captions=country_captions("capital", "calling code", named=True),
            ),
            Family(
                name="film",
                category="film",
                difficulty="medium",
                given=("film",),
                lookups=(Lookup(slot="country", relation="country", known="subject", of="film"),),
                pictures=("Flag of {country}",),
                wordings=(
                    ("the flag of the country of the film {film}",),
                    ("the flag of the country where the film {film} was made",),
                ),
                captions=(
                    CaptionOf(relation="year", of="film", phrases=("the year of {film}", "the year of the film")),
                    *country_captions("capital", named=False),
                ),
            ),
            Family(
                name="person",
                category="history",
                difficulty="medium",
                given=("person",),
                lookups=(Lookup(slot="country", relation="country", known="subject", of="person"),),
                pictures=("Flag of {country}",),
                wordings=(("the flag of the country of {person}",), ("the flag of {person}'s country",)),
                captions=(
                    CaptionOf(relation="birth year", of="person", phrases=("the birth year of {person}",)),
                    *country_captions("capital", named=False),
                ),
            ),
        )
    }
)
"""By name."""
