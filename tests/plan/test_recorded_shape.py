"""On what a recorded run ran, and that its queues are taken out with that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.config import load
from gen_searcher.config.plan import PlanConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan.forecast import forecast
from gen_searcher.plan.propose import Role, count_of, resized
from gen_searcher.plan.recorded import read_measured
from gen_searcher.plan.recorded_shape import LONGEST_BYTES, RecordedShape, read_shape
from tests.plan.test_recorded import STATED, grounded, turn, write_run

PLAN = PlanConfig.model_validate({"steps": 2, "engine": {"batch": 4}, "generator": {"batch": 1}})
RAN = ("cluster.rollout_workers=2", "grpo.groups_per_step=1", "grpo.group_size=2", "grpo.max_staleness=0")


def write_config(folder: Path, *settings: str) -> None:
    load.write(load.load([f"run_dir='{folder}'", *RAN, *settings]), command="grpo")


def write_counts(folder: Path, role: str, counts: list[object]) -> None:
    (folder / "grpo").mkdir()
    rows = [{"step": step, f"cluster/{role}_workers": count} for step, count in enumerate(counts, start=1)]
    (folder / "grpo" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def counts(found: RecordedShape) -> list[int]:
    """Engines, generators, judges, ranks."""
    return [count_of(found.shape, role) for role in Role]


def test_a_run_without_counts_ran_on_what_its_last_start_was_given(tmp_path: Path) -> None:
    write_config(tmp_path, "cluster.generator_workers=3", "cluster.learner_ranks=4", "plan.engine.batch=99")
    found = read_shape(tmp_path, PLAN)
    assert (counts(found), found.came_and_went) == ([2, 3, 1, 4], {})
    assert (found.shape.groups_per_step, found.shape.group_size, found.shape.max_staleness) == (1, 2, 0)
    assert found.shape.engines.kind.batch == 4, "how workers serve is stated by whoever plans"


def test_workers_that_were_counted_stand_above_the_settings(tmp_path: Path) -> None:
    write_config(tmp_path, "cluster.generator_workers=3")
    odd: list[object] = [0, -1, 1e300, float("nan"), "many"]
    write_counts(tmp_path, "generator", [1, 5, 5, 5, 2, *odd])
    found = read_shape(tmp_path, PLAN)
    assert counts(found) == [2, 5, 1, 1]
    assert found.came_and_went == {"generator_workers": range(1, 6)}


def test_a_queue_is_taken_out_by_the_generators_that_there_were_whatever_is_planned(tmp_path: Path) -> None:
    """Four attempts were handed in at once, and one generator drew them in 5 s each, one after the other."""
    write_config(tmp_path)
    attempts = [
        replace(grounded(turn(1.0, None), draw_s=5.0 * place, judge_s=0.0), seed=place) for place in range(1, 5)
    ]
    write_run(tmp_path, [(one, 100.0 + 5.0 * one.seed) for one in attempts], booked_s=[130.0, 160.0])
    ran = read_shape(tmp_path, PLAN)
    work = read_measured(tmp_path, STATED, ran.shape).workload
    assert work.draw_s.mean_s == pytest.approx(5.0)
    four = read_measured(tmp_path, STATED, resized(ran.shape, Role.GENERATORS, 4)).workload
    assert four.draw_s.mean_s == pytest.approx(12.5), "four of them would have had no queue"


def test_a_learner_with_more_ranks_than_recorded_is_faster_than_recorded(tmp_path: Path) -> None:
    write_config(tmp_path)
    two = [(grounded(turn(1.0, None), draw_s=1.0, judge_s=0.0), 100.0 + place) for place in range(2)]
    attempts = [(replace(one, seed=place), ended_s) for place, (one, ended_s) in enumerate(two)]
    write_run(tmp_path, attempts, booked_s=[104.5])
    ran = read_shape(tmp_path, PLAN)
    work = read_measured(tmp_path, STATED, ran.shape).workload
    slow, fast = (forecast(work, resized(ran.shape, Role.LEARNER, ranks), PLAN) for ranks in (1, 2))
    assert slow.step_s - fast.step_s == pytest.approx(1.5), "3 s of learning on one rank"


def test_a_configuration_that_is_missing_or_cannot_be_read_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"plan\.recorded: .*config/grpo\.yaml is missing, which says on what the run ran"
    ):
        read_shape(tmp_path, PLAN)
    write_config(tmp_path)
    path = tmp_path / "config" / "grpo.yaml"
    for text, said in (
        (b"\xff\xfe", "is not UTF-8"),
        (b"grpo: {stepz: 1}", "grpo.stepz: there is no such setting"),
        (b"cluster: {rollout_workers: 0}", "cluster.rollout_workers: found 0"),
        (b"#" * (LONGEST_BYTES + 1), "is too long for a configuration"),
    ):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match=r"plan\.recorded: .*grpo\.yaml") as found:
            read_shape(tmp_path, PLAN)
        assert said in str(found.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r"grpo\.yaml cannot be read"):
        read_shape(tmp_path, PLAN)
