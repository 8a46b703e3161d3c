"""What became of the pictures is said in shares and reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.metrics.report.drawings import drawing_lines
from gen_searcher.metrics.report.page import write_report
from gen_searcher.metrics.report.read import Entry, read_entries
from tests.metrics.report.conftest import FixtureRun
from tests.metrics.report.test_page import Elements, embedded


def entry(drawn: DrawnHow | None, reason: str = "", *, outcome: str = "grounded") -> Entry:
    return Entry(
        file=Path("x"), offset=0, step=1, group="g", task_id="t", outcome=outcome, stage="", reward=0.5, drawn=drawn,
        reason=reason,
    )  # fmt: skip


def test_shares_are_of_the_scored_attempts_and_reasons_are_counted() -> None:
    entries = [
        *[entry(DrawnHow.DRAWN)] * 4,
        *[entry(DrawnHow.REUSED, "the same grounding as attempt 1 of the group")] * 2,
        *[entry(DrawnHow.SKIPPED, "flat")] * 2,
        entry(DrawnHow.REFUSED, "no violence"),
        entry(None, outcome="malformed"),
        entry(None, outcome="lost"),
    ]
    assert drawing_lines(entries) == (
        "Pictures of 10 attempts: drawn 40%, taken over from a sibling with the same grounding 20%, "
        "refused by the image model 10%, skipped 20%, without a grounding 10%.",
        "Why there is none: skipped: flat (2); refused by the image model: no violence (1).",
    )


def test_many_reasons_are_cut_and_counted() -> None:
    lines = drawing_lines([entry(DrawnHow.REFUSED, f"reason {n}") for n in range(8)])
    assert lines[1].count("reason ") == 6
    assert lines[1].endswith("; and 2 more reasons.")


def test_a_run_that_recorded_no_drawing_says_nothing() -> None:
    assert drawing_lines([entry(None), entry(None, outcome="lost")]) == ()


def test_the_page_says_how_each_picture_came_about(run: FixtureRun) -> None:
    drawings = [
        Drawing(how=DrawnHow.DRAWN, seed=11, cut_references=2),
        Drawing(how=DrawnHow.SKIPPED, reason="nothing <b>to learn</b>"),
    ]
    lines = [
        replace(line, attempt=replace(line.attempt, drawing=drawing))
        for line, drawing in zip(
            [run.line("Poland", step=1, group="a"), run.line("Italy", step=1, group="a")], drawings, strict=True
        )
        if line.attempt is not None
    ]
    path = run.lines("grpo/attempts.jsonl", lines)
    run.text("grpo/metrics.jsonl", '{"step": 1, "reward/mean": 0.5}\n')
    assert [one.drawn for one in read_entries(path, notes=[])] == [DrawnHow.DRAWN, DrawnHow.SKIPPED]
    html = write_report(run.root).read_text()
    assert "Pictures of 2 attempts: drawn 50%, skipped 50%." in Elements(html).text
    assert "nothing <b>to learn</b>" not in html
    found = [cast("dict[str, object]", one["drawing"]) for one in embedded(html)]
    shown = {drawing["how"]: drawing for drawing in found}
    assert (shown["drawn"]["seed"], shown["drawn"]["cut_references"]) == (11, 2)
    assert shown["skipped"]["reason"] == "nothing <b>to learn</b>"
