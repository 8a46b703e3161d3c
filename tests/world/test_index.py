from __future__ import annotations

from statistics import mean

import pytest

from gen_searcher.world import World
from gen_searcher.world.index import SNIPPET_CHARS, page_index, picture_index
from gen_searcher.world.providers import EmbeddedWeb


@pytest.mark.parametrize(
    ("query", "title", "snippet"),
    [
        ("capital: Poland", "Poland", "Capital of Poland: Warsaw."),
        ("brightest star: Lyra", "Lyra", "Brightest star of Lyra: Vega."),
        ("namesake country of Polonium", "Polonium", "Namesake country of Polonium: Poland."),
        ("kind: kangaroo", "Kangaroo", "Kind of kangaroo: marsupial."),
        ("meaning: Lyre", "Lyra", "Meaning of Lyra: Lyre."),
    ],
)
async def test_the_first_hit_of_a_plain_question_states_the_fact(query: str, title: str, snippet: str) -> None:
    hits = await EmbeddedWeb().search(query, limit=3)
    assert hits[0].title == title
    assert snippet in hits[0].snippet
    assert all(len(hit.snippet) <= SNIPPET_CHARS for hit in hits)


async def test_words_that_no_page_holds_find_nothing() -> None:
    assert await EmbeddedWeb().search("qwertzuiop", limit=3) == []
    assert await EmbeddedWeb().search_images("qwertzuiop", limit=4) == []


def test_the_right_picture_is_first_about_half_the_time_and_almost_always_among_four() -> None:
    ranks: list[int] = []
    for entity in list(World.load().entities.values())[::3]:
        titles = [found.name for found in picture_index().find(entity.name, limit=4)]
        accepted = {entity.name, *(World.load().entities[other].name for other in entity.look_alikes)}
        ranks.append(next((rank for rank, title in enumerate(titles) if title in accepted), 99))
    assert 0.42 <= mean(rank == 0 for rank in ranks) <= 0.62
    assert mean(rank < 4 for rank in ranks) >= 0.97


def test_identical_pictures_are_shown_once_and_under_the_title_that_was_asked_for() -> None:
    names = [entity.name for entity in picture_index().find("flag of United States of America", limit=10)]
    assert "Flag of United States of America" in names
    assert "Flag of United States Minor Outlying Islands" not in names


def test_the_same_query_gives_the_same_results() -> None:
    once = [page.id for page in page_index().find("flag of a country", limit=8)]
    assert once == [page.id for page in page_index().find("flag of a country", limit=8)]
