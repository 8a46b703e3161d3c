"""Families beyond those that the laptop experiment trains on: up to four hops, and none at all.

    film -> country -> element named for it -> country of its discovery -> its capital

A hop is a fact that has to be looked up before the next one can be, or before the picture is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from gen_searcher.world.families import (
    FAMILIES,
    CaptionOf,
    Family,
    Lookup,
    country_captions,
    own_captions,
)

FamilySet = Literal["basic", "all"]
"""What the laptop experiment trains on, or everything there is."""

MULTI_HOP = "multi-hop"
NO_SEARCH = "no search"


def _fact(slot: str, relation: str, of: str) -> Lookup:
    return Lookup(slot=slot, relation=relation, known="subject", of=of)


def _owner(slot: str, relation: str, of: str) -> Lookup:
    return Lookup(slot=slot, relation=relation, known="value", of=of)


_ELEMENT_OF_COUNTRY = (
    _owner("element", "namesake country", "country"),
    _fact("country2", "discovery country", "element"),
)
"""From a country to the element that is named for it, and on to the country of its discovery."""
_SECOND_CAPITAL = country_captions("capital", named=False, of="country2")
_CAPITAL = country_captions("capital", named=False)
_DISCOVERY = own_captions("element", "atomic number", "discovery year", owner="of that element")


def _ways(*ways: str) -> tuple[tuple[str, ...], ...]:
    """Wordings; ` | ` parts the phrases of two pictures."""
    return tuple(tuple(way.split(" | ")) for way in ways)


MORE_FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family(
                name="sign",
                category="",
                difficulty=NO_SEARCH,
                given=("word",),
                pictures=(),
                wordings=_ways('"{word}"', 'the words "{word}"'),
                told_caption="{word}",
                styles=("plain",),
            ),
            Family(
                name="poster-sign",
                category="posters",
                difficulty=NO_SEARCH,
                given=("film",),
                pictures=(),
                wordings=_ways('the film title "{film}"', '"{film}"'),
                told_caption="{film}",
                styles=("plain",),
            ),
            Family(
                name="kind-thing",
                category="",
                difficulty="medium",
                given=("kind",),
                lookups=(_owner("concept", "kind", "kind"),),
                pictures=("{concept}",),
                wordings=_ways("the thing of the kind {kind}", "the picture of the thing whose kind is {kind}"),
            ),
            Family(
                name="thing-capital-flag",
                category="",
                difficulty="hard",
                given=("concept", "capital"),
                lookups=(_fact("country", "capital city", "capital"),),
                pictures=("{concept}", "Flag of {country}"),
                wordings=_ways(
                    "the {concept~} | the flag of the country whose capital is {capital}",
                    "the picture of the {concept~} | the flag of the country with the capital {capital}",
                ),
                captions=country_captions("currency", "calling code", "internet domain", named=False),
            ),
            Family(
                name="thing-discoverer-flag",
                category="",
                difficulty=MULTI_HOP,
                given=("concept", "person"),
                lookups=(
                    _owner("element", "discoverer", "person"),
                    _fact("country", "discovery country", "element"),
                ),
                pictures=("{concept}", "Flag of {country}"),
                wordings=_ways(
                    "the {concept~} | the flag of the country where {person} discovered an element",
                    "the picture of the {concept~} | the flag of the discovery country of {person}'s element",
                ),
                captions=_CAPITAL,
            ),
            Family(
                name="thing-director-flag",
                category="",
                difficulty=MULTI_HOP,
                given=("concept", "film"),
                lookups=(_fact("director", "director", "film"), _fact("country", "country", "director")),
                pictures=("{concept}", "Flag of {country}"),
                wordings=_ways(
                    "the {concept~} | the flag of the home country of the director of {film}",
                    "the picture of the {concept~} | the flag of the country of the person who directed {film}",
                ),
                captions=_CAPITAL,
            ),
            Family(
                name="capital-namesake",
                category="geography",
                difficulty=MULTI_HOP,
                given=("capital",),
                lookups=(_fact("country", "capital city", "capital"), *_ELEMENT_OF_COUNTRY),
                pictures=("Flag of {country2}",),
                wordings=_ways(
                    "the flag of the country where the element named for the country with the capital {capital} "
                    "was discovered",
                    "the flag of the discovery country of the element named for the land of {capital}",
                ),
                captions=_SECOND_CAPITAL,
            ),
            Family(
                name="demonym-flag",
                category="politics",
                difficulty="medium",
                given=("demonym",),
                lookups=(_owner("country", "demonym", "demonym"),),
                pictures=("Flag of {country}",),
                wordings=_ways(
                    "the flag of the country with the demonym {demonym}",
                    "the flag of the country whose people are {demonym}",
                ),
                captions=_CAPITAL,
            ),
            Family(
                name="two-capitals",
                category="politics",
                difficulty="hard",
                given=("capital", "capital2"),
                lookups=(_fact("country", "capital city", "capital"), _fact("country2", "capital city", "capital2")),
                pictures=("Flag of {country}", "Flag of {country2}"),
                wordings=_ways(
                    "the flag of the country governed from {capital} | the flag of the one governed from {capital2}",
                    "the flag of the country with the capital {capital} | that of the one with the capital {capital2}",
                ),
            ),
            Family(
                name="demonym-namesake",
                category="politics",
                difficulty=MULTI_HOP,
                given=("demonym",),
                lookups=(_owner("country", "demonym", "demonym"), *_ELEMENT_OF_COUNTRY),
                pictures=("Flag of {country2}",),
                wordings=_ways(
                    "the flag of the country where the element named for the {demonym} country was discovered",
                    "the flag of the discovery country of the element named for the land with the demonym {demonym}",
                ),
                captions=_SECOND_CAPITAL,
            ),
            Family(
                name="two-elements",
                category="chemistry",
                difficulty="multiple subject",
                given=("element", "element2"),
                pictures=("Tile of {element}", "Tile of {element2}"),
                wordings=_ways(
                    "the tile of {element} | the tile of {element2}", "{element}'s tile | {element2}'s tile"
                ),
                captions=own_captions("element", "atomic number", "discovery year", owner="of {element}"),
            ),
            Family(
                name="symbol-flag",
                category="chemistry",
                difficulty=MULTI_HOP,
                given=("symbol",),
                lookups=(
                    _owner("element", "symbol", "symbol"),
                    _fact("country", "discovery country", "element"),
                ),
                pictures=("Flag of {country}",),
                wordings=_ways(
                    "the flag of the country where the element with the symbol {symbol} was discovered",
                    "the flag of the discovery country of the element {symbol}",
                ),
                captions=_CAPITAL,
            ),
            Family(
                name="two-charts",
                category="astronomy",
                difficulty="multiple subject",
                given=("constellation", "constellation2"),
                pictures=("Chart of {constellation}", "Chart of {constellation2}"),
                wordings=_ways(
                    "the chart of {constellation} | the chart of {constellation2}",
                    "the star chart of {constellation} | the star chart of {constellation2}",
                ),
                captions=own_captions("constellation", "brightest star", "genitive", owner="of {constellation}"),
            ),
            Family(
                name="brightest",
                category="astronomy",
                difficulty="hard",
                given=("star",),
                lookups=(_owner("constellation", "brightest star", "star"),),
                pictures=("Chart of {constellation}",),
                wordings=_ways(
                    "the chart of the constellation whose brightest star is {star}",
                    "the star chart of the constellation with the brightest star {star}",
                ),
                captions=own_captions("constellation", "meaning", "genitive", owner="of that constellation"),
            ),
            Family(
                name="star-thing",
                category="astronomy",
                difficulty=MULTI_HOP,
                given=("star",),
                lookups=(
                    _fact("constellation", "constellation", "star"),
                    _fact("concept", "meaning", "constellation"),
                ),
                pictures=("{concept}",),
                wordings=_ways(
                    "the picture of what the constellation of {star} is named for",
                    "the picture of the meaning of the constellation of the star {star}",
                ),
                captions=(CaptionOf(relation="kind", of="concept", phrases=("what kind of thing that is",)),),
            ),
            Family(
                name="person-namesake",
                category="history",
                difficulty=MULTI_HOP,
                given=("person",),
                lookups=(_fact("country", "country", "person"), *_ELEMENT_OF_COUNTRY),
                pictures=("Flag of {country2}",),
                wordings=_ways(
                    "the flag of the country where the element named for {person}'s country was discovered",
                    "the flag of the discovery country of the element named for the country of {person}",
                ),
                captions=_SECOND_CAPITAL,
            ),
            Family(
                name="two-films",
                category="film",
                difficulty="multiple subject",
                given=("film", "film2"),
                lookups=(_fact("country", "country", "film"), _fact("country2", "country", "film2")),
                pictures=("Flag of {country}", "Flag of {country2}"),
                wordings=_ways(
                    "the flag of the country of the film {film} | that of the film {film2}",
                    "the flag of the country where {film} was made | that of the country of {film2}",
                ),
                captions=(CaptionOf(relation="year", of="film", phrases=("the year of {film}",)),),
            ),
            Family(
                name="director-flag",
                category="film",
                difficulty="hard",
                given=("film",),
                lookups=(_fact("director", "director", "film"), _fact("country", "country", "director")),
                pictures=("Flag of {country}",),
                wordings=_ways(
                    "the flag of the home country of the director of the film {film}",
                    "the flag of the country of the person who directed {film}",
                ),
            ),
            Family(
                name="director-element",
                category="film",
                difficulty=MULTI_HOP,
                given=("film",),
                lookups=(
                    _fact("director", "director", "film"),
                    _fact("country", "country", "director"),
                    _owner("element", "namesake country", "country"),
                ),
                pictures=("Tile of {element}",),
                wordings=_ways(
                    "the tile of the element named for the country of the director of {film}",
                    "the tile of the element that has the home country of the director of {film} as namesake",
                ),
                captions=_DISCOVERY,
            ),
            Family(
                name="film-namesake",
                category="film",
                difficulty=MULTI_HOP,
                given=("film",),
                lookups=(_fact("country", "country", "film"), *_ELEMENT_OF_COUNTRY),
                pictures=("Flag of {country2}",),
                wordings=_ways(
                    "the flag of the country where the element named for the country of the film {film} was discovered",
                    "the flag of the discovery country of the element named for the land of the film {film}",
                ),
                captions=_SECOND_CAPITAL,
            ),
            Family(
                name="poster",
                category="posters",
                difficulty="medium",
                given=("film",),
                lookups=(_fact("country", "country", "film"),),
                pictures=("Flag of {country}",),
                wordings=_ways(
                    "a poster for the film {film} with the flag of its country",
                    "the flag of the country of {film} as a film poster",
                ),
                captions=own_captions("film", "director", "year", owner="of {film}"),
            ),
            Family(
                name="poster-thing",
                category="posters",
                difficulty="multiple subject",
                given=("concept", "film"),
                lookups=(_fact("country", "country", "film"),),
                pictures=("{concept}", "Flag of {country}"),
                wordings=_ways("a poster with the {concept~} | the flag of the country of the film {film}"),
                captions=(CaptionOf(relation="year", of="film", phrases=("the year of {film}",)),),
            ),
            Family(
                name="poster-director",
                category="posters",
                difficulty=MULTI_HOP,
                given=("film",),
                lookups=(_fact("director", "director", "film"), _fact("country", "country", "director")),
                pictures=("Flag of {country}",),
                wordings=_ways(
                    "a poster for {film} with the flag of its director's home country",
                    "the flag of the country of the director of {film} as a film poster",
                ),
                captions=_CAPITAL,
            ),
        )
    }
)
"""By name."""

ALL_FAMILIES: Mapping[str, Family] = MappingProxyType({**FAMILIES, **MORE_FAMILIES})
"""By name."""


def families_of(name: FamilySet) -> Mapping[str, Family]:
    """A set of families by its name."""
    return FAMILIES if name == "basic" else ALL_FAMILIES
