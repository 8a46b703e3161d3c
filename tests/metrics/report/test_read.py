from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gen_searcher.metrics.report.read import (
    config_digest,
    read_configs,
    read_entries,
    read_line,
    read_metrics,
    read_more_tables,
    read_table,
)

if TYPE_CHECKING:
    from .conftest import FixtureRun


def test_metrics_become_one_series_per_name(run: FixtureRun) -> None:
    run.metrics("grpo", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "eval/k": 0.5}])
    notes: list[str] = []
    made = {one.name: one for one in read_metrics(run.root / "grpo/metrics.jsonl", notes=notes)}
    assert (made["loss"].steps, made["loss"].values) == ((1, 2), (2.0, 1.0))
    assert (made["eval/k"].steps, made["eval/k"].values) == ((2,), (0.5,))
    assert notes == []


def test_a_step_written_again_after_a_resume_counts_once(run: FixtureRun) -> None:
    run.metrics("grpo", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 9.0}, {"step": 2, "loss": 1.0}])
    (loss,) = read_metrics(run.root / "grpo/metrics.jsonl", notes=[])
    assert (loss.steps, loss.values) == ((1, 2), (2.0, 1.0))


def test_words_and_nulls_among_the_numbers_are_left_out(run: FixtureRun) -> None:
    run.text("sft/metrics.jsonl", '{"step": 1, "note": "warm", "loss": null, "done": true, "lr": NaN}\n')
    assert [one.name for one in read_metrics(run.root / "sft/metrics.jsonl", notes=[])] == ["lr"]


def test_a_half_written_last_line_is_skipped_and_said(run: FixtureRun) -> None:
    path = run.text("grpo/metrics.jsonl", '{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    notes: list[str] = []
    (loss,) = read_metrics(path, notes=notes)
    assert loss.values == (2.0,)
    assert notes == ["grpo/metrics.jsonl: the last line (2) is not complete, as when a run is killed; it is left out."]


def test_damage_in_the_middle_is_counted_with_its_lines(run: FixtureRun) -> None:
    path = run.text("grpo/metrics.jsonl", 'x\n{"step": 1, "loss": 2.0}\n\n[]\n{"step": 2, "loss": 1.0}\n')
    notes: list[str] = []
    (loss,) = read_metrics(path, notes=notes)
    assert loss.values == (2.0, 1.0)
    assert notes == ["grpo/metrics.jsonl: 2 lines cannot be read (lines 1, 4); they are left out."]


def test_missing_files_are_empty(run: FixtureRun) -> None:
    notes: list[str] = []
    assert read_metrics(run.root / "no/metrics.jsonl", notes=notes) == ()
    assert read_entries(run.root / "no/attempts.jsonl", notes=notes) == ()
    assert read_table(run.root / "no/table.json", notes=notes).arms == ()
    assert read_configs(run.root / "config") == ()
    assert notes == []


def test_an_entry_finds_its_line_again(run: FixtureRun) -> None:
    first = run.line("Poland", step=4, group="a", score=0.25, advantage=-0.5, title="Flaga Łódź")
    lines = [first, run.lost("France", step=4, group="b"), run.line("Italy", step=5, group="c", score=0.75)]
    entries = read_entries(run.lines("grpo/attempts.jsonl", lines), notes=[])
    assert [(one.step, one.group, one.outcome, one.stage, one.reward) for one in entries] == [
        (4, "a", "grounded", "", 0.25),
        (4, "b", "lost", "generate", None),
        (5, "c", "grounded", "", 0.75),
    ]
    assert [read_line(entry) for entry in entries] == lines


def test_a_line_that_only_looks_like_an_attempt_is_none(run: FixtureRun) -> None:
    row = {"step": 1, "group": "g", "kind": "attempt", "task": {"id": "t"}, "attempt": None, "lost": None}
    (entry,) = read_entries(run.text("grpo/attempts.jsonl", json.dumps(row) + "\n"), notes=[])
    assert read_line(entry) is None


def test_the_table_keeps_its_numbers_and_pairs(run: FixtureRun) -> None:
    arm = {"arm": "base", "k_score": 0.25, "low": 0.125, "high": 0.5, "text_accuracy": None, "model": "tiny"}
    pair = {"better": "b", "baseline": "a", "difference": 0.5, "low": 0.25, "high": 0.75, "tasks": 8}
    table = read_table(run.text("bench/table.json", json.dumps({"arms": [arm], "paired": [pair], "n": 1})), notes=[])
    assert table.arms[0].name == "base"
    assert table.arms[0].numbers == {"k_score": 0.25, "low": 0.125, "high": 0.5}
    assert (table.paired[0].difference, table.paired[0].low, table.paired[0].high) == (0.5, 0.25, 0.75)


@pytest.mark.parametrize("text", ["{", '{"arms": 3}', '{"paired": [{"better": "b"}]}'])
def test_a_damaged_table_is_said(run: FixtureRun, text: str) -> None:
    notes: list[str] = []
    assert read_table(run.text("bench/table.json", text), notes=notes).arms == ()
    assert len(notes) == 1
    assert notes[0].startswith("bench/table.json cannot be read")


def test_the_digest_follows_names_and_texts(run: FixtureRun) -> None:
    run.text("config/grpo.yaml", "lr: 1\n")
    first = config_digest(read_configs(run.root / "config"))
    run.text("config/grpo.yaml", "lr: 2\n")
    second = config_digest(read_configs(run.root / "config"))
    run.text("config/grpo.yaml", "lr: 1\n")
    assert len(first) == 12
    assert first != second
    assert config_digest(read_configs(run.root / "config")) == first


def test_suites_and_sweeps_are_read_by_the_names_of_their_folders(run: FixtureRun) -> None:
    for name in ("knowgen-mini", "adversity"):
        run.text(f"bench/{name}/table.json", json.dumps({"arms": [{"arm": "a @ mild"}], "title": f"About {name}"}))
    run.text("bench/empty/table.json", json.dumps({"arms": []}))
    found = read_more_tables(run.root / "bench", notes=[])
    assert [table.title for table in found] == ["About adversity", "About knowgen-mini"]
    assert found[0].arms[0].name == "a @ mild"
