"""Counts and rises, by hand."""

from __future__ import annotations

import pytest

from gen_searcher.bench.analysis import Case, LinkRow, make_analysis, render
from gen_searcher.bench.attribution import Attribution, Standing
from gen_searcher.bench.links import Link, Parts


def parts(every: float, text: float | None) -> Parts:
    return {"faithfulness": every, "visual_correctness": every, "text_accuracy": text, "aesthetics": every}


def case(number: int, own: Parts, link: Link | None = None, mended: Parts | None = None, *also: Link) -> Case:
    standing = Standing.NONE if link is None else Standing.BROKEN
    return Case(
        task_id=f"t{number}",
        seed=number,
        outcome="grounded",
        offset=100 * number,
        own=own,
        attribution=Attribution(standing=standing, link=link, mended=mended, also=also, why="w"),
    )


UNDECIDED = Case(
    task_id="t9",
    seed=9,
    outcome="malformed",
    offset=900,
    own=parts(0.0, 0.0),
    attribution=Attribution(standing=Standing.UNDECIDED, why="no oracle", complaints=("faithfulness",)),
)
CASES = [
    case(1, parts(1.0, 1.0)),
    case(2, parts(0.0, None), Link.SEARCH, parts(1.0, None), Link.GENERATION),
    case(3, parts(1.0, 0.0), Link.GROUNDING, parts(1.0, 1.0)),
    UNDECIDED,
]
ANALYSIS = make_analysis("sft", CASES, bar=0.6, attempts_sha256="ab", lost=2)


def row(link: Link) -> LinkRow:
    return next(one for one in ANALYSIS["links"] if one["link"] == link)


def test_every_link_has_a_row_in_the_order_of_the_chain() -> None:
    assert [one["link"] for one in ANALYSIS["links"]] == list(Link)
    assert [(one["attempts"], one["also"]) for one in ANALYSIS["links"]] == [
        (1, 0),
        (0, 0),
        (0, 0),
        (1, 0),
        (0, 1),
        (0, 0),
    ]


def test_the_arms_k_is_the_formula_on_the_means_and_a_rise_is_the_formula_with_one_link_mended() -> None:
    # means: 0.5 on the three, text over t1, t3 and t9: 1/3
    own = 100 * (0.6 * 0.5 + 0.4 / 3)
    assert ANALYSIS["k_score"] == pytest.approx(own)
    assert row(Link.SEARCH)["rise"] == pytest.approx(100 * (0.6 * 0.75 + 0.4 / 3) - own)
    assert row(Link.GROUNDING)["rise"] == pytest.approx(100 * (0.6 * 0.5 + 0.4 * 2 / 3) - own)
    assert row(Link.JUDGING)["rise"] == 0.0


def test_what_one_attempt_lost_is_its_own_k() -> None:
    assert row(Link.SEARCH)["lost"] == pytest.approx(60.0)
    assert row(Link.GROUNDING)["lost"] == pytest.approx(40.0)
    assert row(Link.READING)["lost"] is None


def test_shares_are_of_the_failed_attempts_and_the_undecided_are_counted_with_their_reason() -> None:
    assert (ANALYSIS["attempts"], ANALYSIS["failed"], ANALYSIS["undecided"], ANALYSIS["lost"]) == (4, 3, 1, 2)
    assert row(Link.SEARCH)["share"] == pytest.approx(1 / 3)
    assert [(one["task"], one["link"]) for one in ANALYSIS["cases"]] == [
        ("t2", "search"),
        ("t3", "grounding"),
        ("t9", None),
    ]
    assert (ANALYSIS["cases"][2]["why"], ANALYSIS["cases"][2]["mended_k"]) == ("no oracle", None)


def test_the_printed_table_says_how_many_failed() -> None:
    text = render(ANALYSIS).splitlines()
    assert text[0] == "sft: K 43.33, 3 of 4 attempts have a complaint (below 0.6), 1 undecided, 2 lost"
    assert text[3].split() == ["search", "1", "33%", "0", "+60.00", "+15.00"]
    assert text[4].split() == ["reading", "0", "0%", "0", "-", "+0.00"]


def test_an_arm_without_an_attempt_cannot_be_analysed() -> None:
    with pytest.raises(ValueError, match="no attempt"):
        make_analysis("sft", [], bar=0.6, attempts_sha256="", lost=0)
