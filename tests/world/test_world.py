from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from importlib import resources

from gen_searcher.world import World

DATA = resources.files("gen_searcher.world") / "data"
LICENCES = {"MIT", "ISC", "BSD-3-Clause", "CC0-1.0", "WordNet"}


def test_the_world_is_as_large_as_promised_and_small_enough_to_ship() -> None:
    world = World.load()
    assert Counter(entity.kind for entity in world.entities.values()) == {
        "flag": 271,
        "element": 118,
        "constellation": 88,
        "concept": 813,
    }
    assert len(world.pages) >= 4700
    assert sum(len(file.read_bytes()) for file in DATA.iterdir() if file.is_file()) < 6_000_000


def test_an_entity_has_a_square_picture_and_a_page_that_shows_it() -> None:
    world = World.load()
    for entity in list(world.entities.values())[::50]:
        assert world.picture(entity.id).size == (128, 128)
        assert world.picture(entity.id).mode == "RGB"
        assert world.pages[entity.page_id].entity == entity.id


def test_look_alikes_go_both_ways() -> None:
    world = World.load()
    assert "flag-fr" in world.look_alikes("flag-gp")
    assert world.look_alikes("flag-pl") == ()
    for entity in world.entities.values():
        assert all(entity.id in world.look_alikes(other) for other in entity.look_alikes)


def test_every_row_of_the_ledger_names_a_permissive_licence_and_the_bytes_it_covers() -> None:
    world = World.load()
    rows = [json.loads(line) for line in gzip.decompress((DATA / "ledger.jsonl.gz").read_bytes()).splitlines()]
    assert {row["id"] for row in rows} == set(world.pages)
    assert {source["licence"] for row in rows for source in row["sources"]} <= LICENCES
    for row in rows[::40]:
        entity = world.pages[row["id"]].entity
        if entity:
            assert hashlib.sha256(world.picture_file(entity)).hexdigest() == row["picture_sha256"]


def test_facts_are_real() -> None:
    world = World.load()
    assert world.pages["geography/poland"].fact("capital") == "Warsaw"
    assert world.pages["chemistry/polonium"].fact("namesake country") == "Poland"
    assert world.pages["astronomy/lyra"].fact("brightest star") == "Vega"
