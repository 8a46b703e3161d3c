"""The ledger of a training, by hand."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from gen_searcher.metrics.report import write_report
from gen_searcher.metrics.report.expense import expenses
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import Pair, Table

if TYPE_CHECKING:
    from .conftest import FixtureRun


def series(name: str, *values: float) -> Series:
    return Series(name=name, steps=tuple(range(1, len(values) + 1)), values=values)


METRICS = [
    series("time_s", 10.0, 30.0, 5.0),
    series("tool/cost_usd", 0.5, 0.25, 0.25),
    series("picture/cost_usd", 0.0, 0.0, 0.0),
    series("cluster/rollout_workers", 2.0, 1.0, 2.0),
    series("cluster/generator_workers", 1.0, 1.0, 1.0),
]
SETTINGS = {
    "cluster.learner_ranks": "1",
    "cluster.roles.learner.gpus": "1.0",
    "cluster.roles.rollout.gpus": "0.5",
    "cluster.roles.generator.gpus": "0.0",
}


def table(difference: float, low: float = 1.0) -> Table:
    return Table(paired=(Pair(better="sft+grpo", baseline="sft", difference=difference, low=low, high=9.0),))


def test_workers_are_held_from_step_to_step_and_a_resumed_run_begins_a_new_clock() -> None:
    found = expenses(METRICS, [table(5.0)], SETTINGS)
    assert found is not None
    rows = {row.kind: (row.total, row.per_step, row.per_point) for row in found.rows}
    assert rows["wall time, s"] == ("35", "11.67", "7"), "10, then 20, then 5 after a new start"
    assert rows["rollout workers, s"] == ("50", "16.67", "10"), "2 * 10 + 1 * 20 + 2 * 5"
    assert rows["learner workers, s"] == ("35", "11.67", "7")
    assert rows["GPUs, s"] == ("60", "20", "12"), "35 * 1 + 50 * 0.5"
    assert rows["tools, USD"] == ("1", "0.3333", "0.2")
    assert rows["pictures, USD"] == ("-", "-", "-"), "nobody named a price"
    assert "+5.00 K [+1.00, +9.00]" in found.gain


def test_nothing_is_said_per_point_without_a_gain_and_a_doubtful_gain_is_called_so() -> None:
    for tables, said in (
        ([], "No K-Score of sft+grpo beside sft yet"),
        ([table(-1.0, low=-2.0)], "Nothing was gained"),
    ):
        found = expenses(METRICS, tables, SETTINGS)
        assert found is not None
        assert {row.per_point for row in found.rows} == {"-"}
        assert said in found.gain
    doubtful = expenses(METRICS, [table(5.0, low=-1.0)], SETTINGS)
    assert doubtful is not None
    assert "may be chance" in doubtful.gain


def test_seconds_of_gpus_are_not_guessed_without_the_settings() -> None:
    found = expenses(METRICS, [], {})
    assert found is not None
    assert {row.kind for row in found.rows} >= {"rollout workers, s", "wall time, s"}
    assert not any("GPU" in row.kind or "learner" in row.kind for row in found.rows)
    assert expenses([], [], SETTINGS) is None


def test_the_page_shows_the_ledger_and_what_an_attempt_took(run: FixtureRun) -> None:
    run.metrics("grpo", [{"step": step, "time_s": 10.0 * step, "tool/cost_usd": 0.5} for step in (1, 2)])
    arms = [
        {"arm": "sft", "k_score": 40, "seconds_per_attempt": 2.5, "usd_per_attempt": 0.0125},
        {"arm": "sft+grpo", "k_score": 44, "seconds_per_attempt": None, "usd_per_attempt": None},
    ]
    pair = {"better": "sft+grpo", "baseline": "sft", "difference": 4.0, "low": 1.0, "high": 7.0}
    run.text("bench/table.json", json.dumps({"arms": arms, "paired": [pair]}))
    html = write_report(run.root).read_text(encoding="utf-8")
    arm = '<tr><th scope="row">sft</th>'
    assert re.findall(r"<td class=.number.>(.*?)</td>", html.split(arm)[1].split("</tr>")[0]) == ["2.5", "0.0125"]
    assert '<td class="number">n/a</td><td class="number">n/a</td>' in html, "of the arm that knows neither"
    tools = html.split('<tr><th scope="row">tools, USD</th>')[1].split("</tr>")[0]
    assert re.findall(r">([\d.]+)</td>", tools) == ["1", "0.5", "0.25"]
