"""Rungs over seeds from attempt files: values by hand, what is missing, what is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gen_searcher.bench.ladder import LADDER, Cell, Ladder
from gen_searcher.commands import ladder as command
from gen_searcher.config import load
from gen_searcher.errors import ConfigError, DataError
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.types import Attempt, Grounding, Judgement, Lost, Outcome, Reward, Task, Trajectory

CELLS = {cell.label: cell for cell in LADDER}


def line(task_id: str, score: float | None) -> bytes:
    """An attempt whose four dimensions are all `score`; None is a lost one."""
    task = Task(id=task_id, prompt="p", target=None, meta={})
    if score is None:
        lost = Lost(task_id=task_id, seed=0, stage="judge", error="down")
        return ATTEMPT_LINE.dump_json(
            AttemptLine(step=0, group=task_id, kind="lost", task=task, advantage=None, attempt=None, lost=lost)
        )
    names = ("faithfulness", "visual_correctness", "text_accuracy", "aesthetics")
    said = Judgement(
        judge="image",
        score=score,
        parts=dict.fromkeys(names, score),
        rationale="",
        model="m",
        prompt_sha256="0",
        latency_s=0,
    )
    searched = Trajectory(
        task_id=task_id, turns=(), outcome=Outcome.GROUNDED, grounding=Grounding(gen_prompt="p", references=())
    )
    attempt = Attempt(
        trajectory=searched, seed=0, image=None, judgements=(said,), reward=Reward(total=score, parts={"image": score})
    )
    return ATTEMPT_LINE.dump_json(
        AttemptLine(step=0, group=task_id, kind="attempt", task=task, advantage=None, attempt=attempt, lost=None)
    )


def write(seed: Path, cell: Cell, scores: Mapping[str, float | None]) -> None:
    file = cell.file(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(line(task, score) + b"\n" for task, score in scores.items()))


def seeds_of(folder: Path, cell: Cell, *runs: Mapping[str, float | None]) -> list[Path]:
    seeds = [folder / f"seed{number}" for number in range(len(runs))]
    for seed, scores in zip(seeds, runs, strict=True):
        write(seed, cell, scores)
    return seeds


def test_a_rung_is_the_mean_over_the_tasks_that_every_seed_has(tmp_path: Path) -> None:
    cell = CELLS["SFT"]
    seeds = seeds_of(tmp_path, cell, {"a": 0.2, "b": 0.4, "c": 1.0}, {"b": 0.6, "a": 0.8, "c": None})
    rung = Ladder(seeds, seed=0).rung(cell)
    assert rung.k.value == pytest.approx(50.0)
    assert rung.by_seed == pytest.approx((30.0, 70.0))
    assert (rung.tasks, rung.lost) == (2, 1)
    assert rung.k.low == pytest.approx(20.0), "some draw takes the worst seed and task only"
    assert rung.k.high == pytest.approx(80.0)


def test_equal_tasks_leave_the_spread_of_the_seeds(tmp_path: Path) -> None:
    cell = CELLS["SFT"]
    runs = [{f"t{number}": score for number in range(50)} for score in (0.3, 0.4, 0.5)]
    rung = Ladder(seeds_of(tmp_path, cell, *runs), seed=0).rung(cell)
    assert (rung.k.low, rung.k.value, rung.k.high) == pytest.approx((30.0, 40.0, 50.0))


def test_a_difference_is_paired_over_seeds_and_tasks(tmp_path: Path) -> None:
    before, after = CELLS["SFT"], CELLS["SFT + GRPO"]
    low = [{f"t{n}": 0.01 * n for n in range(40)}, {f"t{n}": 0.9 - 0.01 * n for n in range(40)}]
    seeds = seeds_of(tmp_path, before, *low, {"only": 1.0})
    for seed, scores in zip(seeds, low, strict=False):
        write(seed, after, {task: score + 0.05 for task, score in scores.items()})
    found = Ladder(seeds, seed=0).difference(after, before)
    assert (found.k.low, found.k.value, found.k.high) == pytest.approx((5.0, 5.0, 5.0))
    assert (found.seeds, found.tasks) == (2, 40)


def test_runs_without_a_common_task_and_broken_lines_are_named(tmp_path: Path) -> None:
    cell = CELLS["SFT"]
    seeds = seeds_of(tmp_path, cell, {"a": 0.2}, {"b": 0.4})
    with pytest.raises(DataError, match="the runs of SFT have no task in common"):
        Ladder(seeds, seed=0).rung(cell)
    cell.file(seeds[0]).write_bytes(line("a", 0.2) + b"\n{half")
    with pytest.raises(DataError, match="line 2 is no attempt"):
        Ladder(seeds, seed=0).rung(cell)


def ladder_of(folder: Path, *words: str) -> int:
    return command.run(load.load(["experiment=smoke", f"ladder.folder='{folder}'", *words]))


def test_the_command_prints_what_is_there_and_says_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label, score in (("no search", 0.1), ("SFT", 0.3), ("SFT + GRPO", 0.45)):
        seeds_of(tmp_path, CELLS[label], {"a": score, "b": score}, {"a": score, "b": score})
    assert ladder_of(tmp_path) == 0
    said = capsys.readouterr().out
    assert "SFT + GRPO - SFT: +15.00 [+15.00, +15.00], paired over 2 seeds of 2 tasks" in said
    assert "not benched: untrained, without text reward, without image reward" in said
    assert "alpha 0.5   45.00" in said
    written = json.loads((tmp_path / "ladder.json").read_text())
    rungs: Sequence[Mapping[str, object]] = written["ladder"]["rungs"]
    assert [rung["by_seed"] for rung in rungs] == [pytest.approx([k, k]) for k in (10.0, 30.0, 45.0)]
    plot = (tmp_path / "ladder.svg").read_text()
    assert plot.count("<circle") == 3 * 3, "a mean and two seeds each"
    assert "SFT + GRPO: 45.00" in plot


def test_a_folder_without_runs_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no seed<N> folder; launch/paper_mini.sh"):
        ladder_of(tmp_path)


def test_what_its_bench_found_free_cost_nothing_and_the_attempts_alone_do_not_tell(tmp_path: Path) -> None:
    seeds = seeds_of(tmp_path, CELLS["SFT"], {"a": 1.0}, {"a": 0.0})
    assert Ladder(seeds, seed=0).rung(CELLS["SFT"]).attempt_usd is None
    free = {"arms": [{"arm": "sft", "usd_of": {"tools": 0.0, "pictures": 0.0, "judges": 0.0}}]}
    for seed in seeds:
        CELLS["SFT"].file(seed).with_name("table.json").write_text(json.dumps(free))
    assert Ladder(seeds, seed=0).rung(CELLS["SFT"]).attempt_usd == 0.0
    free["arms"][0]["usd_of"] = {"tools": 0.0, "pictures": 0.0, "judges": None}
    CELLS["SFT"].file(seeds[0]).with_name("table.json").write_text(json.dumps(free))
    assert Ladder(seeds, seed=0).rung(CELLS["SFT"]).attempt_usd is None


def test_a_bench_that_has_just_begun_is_none_yet(tmp_path: Path) -> None:
    seeds = seeds_of(tmp_path, CELLS["SFT"], {"a": 1.0}, {})
    assert Ladder(seeds, seed=0).rung(CELLS["SFT"]).by_seed == (100.0,)
