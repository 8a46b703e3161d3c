from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gen_searcher.metrics.report.read import Entry, ToolUse
from gen_searcher.metrics.report.tallies import agreement_rows, correlation, tool_rows


def entry(*, tools: tuple[ToolUse, ...] = (), scores: Mapping[str, float] | None = None, outcome: str = "x") -> Entry:
    return Entry(
        file=Path("a"), offset=0, step=1, group="g", task_id="t", outcome=outcome, stage="", reward=None, tools=tools,
        scores=scores or {},
    )  # fmt: skip


def test_tools_are_counted_per_attempt_that_was_scored() -> None:
    search = ToolUse(name="search", kind="ok")
    tries = [
        entry(tools=(search, search, ToolUse(name="browse", kind="failed"))),
        entry(tools=(ToolUse(name="search", kind="empty"),)),
        entry(outcome="lost"),
    ]
    rows = tool_rows(tries)
    assert [(one.name, one.calls, one.per_attempt, one.empty, one.failed) for one in rows] == [
        ("search", "3", "1.50", "33.3%", "0.0%"),
        ("browse", "1", "0.50", "0.0%", "100.0%"),
    ]


def test_agreement_is_said_of_every_pair_that_judged_the_same_attempts() -> None:
    tries = [entry(scores={"image": a, "text": b}) for a, b in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))]
    (row,) = agreement_rows([*tries, entry(scores={"image": 0.5})])
    assert (row.judges, row.attempts, row.correlation, row.distance) == ("image and text", "4", "1.00", "0.20")
    assert row.same_side == "75%"


def test_two_attempts_say_nothing_about_agreement() -> None:
    assert agreement_rows([entry(scores={"image": 0.1, "text": 0.2})] * 2) == ()


def test_correlation_of_known_columns() -> None:
    assert correlation([1.0, 2.0, 3.0], [2.0, 2.0, 5.0]) == pytest.approx(0.8660254)
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
