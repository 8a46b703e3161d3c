from __future__ import annotations

import pytest

from gen_searcher.world.relations import RELATIONS, picture_query, question, sentence, subject_in, told, value_in


@pytest.mark.parametrize(
    ("title", "query"),
    [
        ("Flag of Poland", "flag: Poland"),
        ("Chart of Lyra", "chart: Lyra"),
        ("Bread", "thing: bread"),
        ("Ear of corn", "thing: ear of corn"),
    ],
)
def test_a_picture_is_asked_for_by_its_kind_and_then_its_name(title: str, query: str) -> None:
    assert picture_query(title) == query


@pytest.mark.parametrize("relation", sorted(RELATIONS))
def test_each_relation_is_read_back_from_its_own_sentence_and_no_other(relation: str) -> None:
    text = f"{sentence(relation, subject='Other', value='wrong')} {sentence(relation, subject='Santo Domingo', value='.do')}"
    assert value_in(text, relation=relation, subject="Santo Domingo") == ".do"
    assert value_in(text, relation=relation, subject="Domingo") is None
    assert subject_in(text, relation=relation, value="nothing") is None


def test_what_is_told_of_a_fact_ends_as_its_sentence_does() -> None:
    """A policy that copies what followed the same words then reads the right value."""
    assert told("currency", known="subject", word="Aruba") == "currency of Aruba"
    assert sentence("currency", subject="Aruba", value="AWG").lower().startswith("currency of aruba: ")
    assert told("kind", known="subject", word="Scissors") == "kind of scissors"
    assert told("discoverer", known="value", word="Johann Gahn") == "discoverer Johann Gahn"
    assert question("discoverer", known="value", word="Johann Gahn") == "discoverer: Johann Gahn"
