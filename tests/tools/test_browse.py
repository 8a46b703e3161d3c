from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gen_searcher.tools.browse import extract

TEXT = (
    "Poland is a country in Europe. Its capital is Warsaw. The flag of Poland is white and red.\n"
    "Many rivers cross the country. Maria Curie named polonium after Poland."
)


def test_the_sentences_that_match_best_come_in_page_order() -> None:
    assert extract(TEXT, query="polonium capital", chars=70) == (
        "Its capital is Warsaw.\nMaria Curie named polonium after Poland."
    )


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    assert extract(TEXT, query="Poland capital", chars=25) == "Its capital is Warsaw."


def test_a_page_that_shares_nothing_gives_its_beginning() -> None:
    assert extract(TEXT, query="zebra", chars=60) == "Poland is a country in Europe.\nIts capital is Warsaw."


def test_a_sentence_that_is_too_long_is_clipped() -> None:
    assert extract("x" * 100, query="q", chars=10) == "x" * 9 + "…"


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=20), st.integers(min_value=1, max_value=80))
def test_an_extract_is_bounded(text: str, query: str, chars: int) -> None:
    assert len(extract(text, query=query, chars=chars)) <= chars
