"""Text pages: named places and people of WordNet, films of Wikidata."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from gen_searcher.world.build.rows import Row
from gen_searcher.world.build.sources import FILMS, FLAGS, WORDNET, Sources
from gen_searcher.world.build.wordnet import PERSON, PLACE, Synset, WordNet
from gen_searcher.world.relations import sentence

PLAIN_NAME = re.compile(r"[A-Z][A-Za-z.'-]*(?: [A-Za-z.'-]+){0,3}")
PERSONS, PLACES, FILM_COUNT = 1200, 900, 900
COUNTRY_NAMES: Mapping[str, str] = MappingProxyType({"United States": "United States of America"})
YEARS = re.compile(r"\((\d{4})-(?:\d{4})\)|\(born in (\d{4})\)|\(born (\d{4})\)")
NATIONALITY = re.compile(r"(?:an? )?([A-Z][a-z]+(?:an|ish|ese|ch|ek|i|ss))\b (?!and|or|born)")


def place_rows(wordnet: WordNet, *, capitals: Mapping[str, str], taken: frozenset[str]) -> list[Row]:
    """Capitals first, then other named places."""
    glosses = {synset.words[0]: synset.gloss for synset in wordnet.named(PLACE)}
    rows = [
        Row(
            title=capital,
            category="geography",
            sentences=(
                sentence("capital city", subject=capital, value=country),
                *([_told(capital, glosses[capital])] if capital in glosses else []),
            ),
            links=(country,),
            sources=(FLAGS, WORDNET) if capital in glosses else (FLAGS,),
        )
        for capital, country in capitals.items()
    ]
    seen = set(taken) | set(capitals)
    for name, gloss in sorted(glosses.items()):
        if name not in seen and PLAIN_NAME.fullmatch(name) and len(gloss) < 160:
            seen.add(name)
            rows.append(Row(title=name, category="geography", sentences=(_told(name, gloss),), sources=(WORDNET,)))
    return rows[:PLACES]


def person_rows(wordnet: WordNet, *, taken: frozenset[str], demonyms: Mapping[str, str]) -> list[Row]:
    """People whose gloss tells a nationality and a year of birth, by full name."""
    rows: list[Row] = []
    seen = set(taken)
    for synset in wordnet.named(PERSON):
        name = _full_name(synset)
        pairs: list[tuple[str, str]] = []
        nationality = NATIONALITY.match(synset.gloss)
        country = demonyms.get(nationality.group(1)) if nationality else None
        if country:
            pairs.append(("country", country))
        born = YEARS.search(synset.gloss)
        if born:
            pairs.append(("birth year", next(year for year in born.groups() if year)))
        if len(pairs) == 2 and name not in seen and PLAIN_NAME.fullmatch(name) and " " in name:
            seen.add(name)
            rows.append(
                Row(
                    title=name,
                    category="history",
                    sentences=(
                        *(sentence(relation, subject=name, value=value) for relation, value in pairs),
                        _told(name, synset.gloss),
                    ),
                    infobox=tuple(pairs),
                    links=(pairs[0][1],),
                    sources=(WORDNET,),
                )
            )
    return sorted(rows, key=lambda row: row.title)[:PERSONS]


def film_rows(sources: Sources) -> list[Row]:
    """Films with a plain title and one country, the most decorated first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movies.db"
        path.write_bytes(sources.films.read("bokeh_sampledata/_data/movies.db"))
        connection = sqlite3.connect(path)
        found: list[tuple[str, int, str, str]] = connection.execute(
            "select Title, Year, Director, Country from omdb where Year > 0 and Director != '' and Country != '' "
            "order by (Country != 'United States') desc, Oscars desc, ID"
        ).fetchall()
        connection.close()
    titles = [title for title, *_ in found]
    rows: list[Row] = []
    for title, year, director, country in found:
        plain = PLAIN_NAME.fullmatch(title) and len(title) > 3 and "," not in director + country
        if plain and titles.count(title) == 1:
            pairs = (
                ("country", COUNTRY_NAMES.get(country, country)),
                ("year", str(year)),
                ("director", director),
            )
            rows.append(
                Row(
                    title=title,
                    category="film",
                    sentences=(
                        *(sentence(relation, subject=title, value=value) for relation, value in pairs),
                        f"{title} is a film.",
                    ),
                    infobox=pairs,
                    links=(pairs[0][1],),
                    sources=(FILMS,),
                )
            )
        if len(rows) == FILM_COUNT:
            break
    return rows


def _full_name(synset: Synset) -> str:
    """The shortest name of at least two words."""
    return min((word for word in synset.words if " " in word), key=len, default=synset.words[0])


def _told(name: str, gloss: str) -> str:
    article = "" if re.match(r"(?:the|an?|one|any|former|[A-Z]\w+ (?:for|name))\b", gloss) else "a "
    if article and gloss[0] in "aeiouAEIOU":
        article = "an "
    return f"{name}: {article}{gloss.rstrip('.')}."
