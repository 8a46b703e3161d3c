from __future__ import annotations

import json
from pathlib import Path

from gen_searcher.metrics.report import write_report
from gen_searcher.metrics.report.compare import compare, last_mean
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.run_data import read_run
from tests.metrics.report.conftest import COUNTRIES, FixtureRun
from tests.metrics.report.test_page import HOSTILE, Elements, embedded


def run_of(root: Path, *, score: float, lr: str = "1e-5") -> FixtureRun:
    run = FixtureRun(root)
    run.text("config/grpo.yaml", f"steps: 4\nlearner:\n  lr: {lr}\nrun_dir: {root}\n")
    run.metrics("grpo", [{"step": s, "time_s": 5.0 * s, "reward/total": score * s, "learn/loss": 1.0} for s in (1, 2)])
    run.lines("bench/attempts-grpo.jsonl", [run.line(c, group=c, score=score) for c in list(COUNTRIES)[:3]])
    arms = [{"arm": "grpo", "k_score": 100 * score, "faithfulness": score}]
    run.text("bench/table.json", json.dumps({"arms": arms}))
    return run


def test_tables_settings_and_numbers_of_both_runs_lie_side_by_side(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "a", score=0.75, lr="1e-5"), run_of(tmp_path / "b", score=0.5, lr="2e-5")
    both = compare(read_run(ours.root, notes=[], label="a"), read_run(theirs.root, notes=[], label="b"))
    (table,) = both.arms
    assert table.title == "Benchmark"
    assert table.columns == ("K-Score", "faithfulness", "seconds per attempt", "USD per attempt")
    (row,) = table.rows
    assert (row.name, row.difference) == ("grpo", "+25")
    assert (row.ours, row.theirs) == (("75", "0.75", "n/a", "n/a"), ("50", "0.5", "n/a", "n/a"))
    (settings,) = both.settings
    assert [(one.name, one.ours, one.theirs) for one in settings.rows] == [("learner.lr", ("1e-5",), ("2e-5",))]
    numbers = {one.name: (one.ours, one.theirs, one.difference) for one in both.numbers.rows}
    assert numbers["reward/total"] == (("1.125",), ("0.75",), "+0.375")


def test_an_arm_of_one_run_only_is_listed_without_a_difference(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "a", score=0.75), run_of(tmp_path / "b", score=0.5)
    theirs.text("bench/table.json", json.dumps({"arms": [{"arm": "sft", "k_score": 1}]}))
    both = compare(read_run(ours.root, notes=[], label="a"), read_run(theirs.root, notes=[], label="b"))
    assert [(row.name, row.ours[0], row.theirs[0], row.difference) for row in both.arms[0].rows] == [
        ("grpo", "75", "n/a", ""),
        ("sft", "n/a", "1", ""),
    ]


def test_the_page_holds_both_runs_curves_and_the_same_tasks_of_both(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "a", score=0.75), run_of(tmp_path / "b", score=0.5)
    html = write_report(ours.root, compare_with=theirs.root).read_text(encoding="utf-8")
    attempts = embedded(html)
    tasks = {run: {one["task_id"] for one in attempts if one["run"] == run} for run in ("a", "b")}
    assert tasks["a"] == tasks["b"] == {f"flag-{name.lower()}" for name in list(COUNTRIES)[:3]}
    assert len({one["id"] for one in attempts}) == 6
    assert len({one["group"] for one in attempts}) == 6
    charts = json.loads(Elements(html).json["data-charts"])
    styles = {(line["name"], line["style"]) for lines in charts.values() for line in lines}
    assert {("reward/total", "s0"), ("reward/total", "s0 other")} <= styles
    assert "a beside b" in Elements(html).text


def test_a_number_that_only_the_other_run_has_gets_a_dashed_line(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "a", score=0.75), run_of(tmp_path / "b", score=0.5)
    theirs.metrics("grpo", [{"step": s, "learn/entropy": 0.5 * s} for s in (1, 2)])
    charts = json.loads(Elements(write_report(ours.root, compare_with=theirs.root).read_text()).json["data-charts"])
    lines = [line for lines in charts.values() for line in lines if line["name"] == "learn/entropy"]
    assert [(line["style"], line["values"]) for line in lines] == [("s0 other", [0.5, 1.0])]


def test_the_legend_has_the_style_of_each_line_and_says_whose_it_is(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "a", score=0.75), run_of(tmp_path / "b", score=0.5)
    html = write_report(ours.root, compare_with=theirs.root).read_text(encoding="utf-8")
    assert '<li><span class="swatch s0"></span>reward/total</li>' in html
    assert '<li><span class="swatch s0 other"></span>reward/total (other run)</li>' in html


def test_two_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "x" / "laptop", score=0.75), run_of(tmp_path / "y" / "laptop", score=0.5)
    html = write_report(ours.root, compare_with=theirs.root).read_text(encoding="utf-8")
    assert {one["run"] for one in embedded(html)} == {"x/laptop", "y/laptop"}


def test_the_other_runs_words_stay_words(tmp_path: Path) -> None:
    ours, theirs = run_of(tmp_path / "a", score=0.75), run_of(tmp_path / "b", score=0.5)
    theirs.text("config/grpo.yaml", f"steps: {json.dumps(HOSTILE)}\n")
    theirs.text("bench/table.json", json.dumps({"title": HOSTILE, "arms": [{"arm": HOSTILE, "k_score": 1}]}))
    elements = Elements(write_report(ours.root, compare_with=theirs.root).read_text(encoding="utf-8"))
    assert (elements.tags.count("img"), elements.tags.count("script"), elements.handlers) == (0, 6, [])
    assert elements.text.count(HOSTILE) >= 3


def test_the_last_value_is_a_mean_of_five_finite_ones() -> None:
    steps = tuple(range(1, 8))
    assert last_mean(Series(name="x", steps=steps, values=(9.0, 1.0, 2.0, 3.0, 4.0, float("nan"), 5.0))) == 3.0
    assert last_mean(Series(name="x", steps=(), values=())) is None
