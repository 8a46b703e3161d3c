"""Faults at named points."""

from __future__ import annotations

import multiprocessing
import signal
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.points import Listener, Point, heard_by, passed
from gen_searcher.testing.fault_plan import FaultPlan, PlantedFault, times_passed


def plan(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


def test_a_point_without_a_listener_is_passed_unheard() -> None:
    assert [passed(point) for point in Point] == [None] * len(Point)


def test_a_fault_happens_at_its_time_and_no_other(tmp_path: Path) -> None:
    path = plan(tmp_path, "- {point: step.booked, time: 2, kind: raise}")
    with heard_by(FaultPlan(path)):
        passed(Point.STEP_BOOKED)
        passed(Point.LEARNER_STEPPED)
        with pytest.raises(PlantedFault, match=r"step\.booked, time 2"):
            passed(Point.STEP_BOOKED)
        passed(Point.STEP_BOOKED)
    passed(Point.STEP_BOOKED)
    assert times_passed(path) == {Point.STEP_BOOKED: 3, Point.LEARNER_STEPPED: 1}, "after the block nobody listens"


def test_times_are_counted_over_all_processes_and_starts(tmp_path: Path) -> None:
    path = plan(tmp_path, "- {point: learner.backward, time: 2, kind: kill}")
    codes: list[int | None] = []
    for _ in range(3):
        process = multiprocessing.get_context("fork").Process(target=FaultPlan(path), args=(Point.LEARNER_BACKWARD,))
        process.start()
        process.join(timeout=60)
        codes.append(process.exitcode)
    assert codes == [0, -signal.SIGKILL, 0]


def test_a_delay_holds_its_thread_up(tmp_path: Path) -> None:
    listener = FaultPlan(plan(tmp_path, "- {point: rollout.finished, time: 1, kind: delay, delay_s: 0.05}"))
    began = time.monotonic()
    listener(Point.ROLLOUT_FINISHED)
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize(
    "row",
    [
        "{point: step.boked, time: 1, kind: kill}",
        "{point: step.booked, time: 0, kind: kill}",
        "{point: step.booked, time: 1, kind: delay}",
        "{point: step.booked, time: 1, kind: kill, delay_s: 3}",
        "{point: step.booked, time: 1, kind: kill, where: learner}",
    ],
)
def test_a_plan_that_would_do_nothing_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(ValidationError):
        FaultPlan(plan(tmp_path, f"- {row}"))


def test_the_configuration_names_a_plan(tmp_path: Path) -> None:
    path = plan(tmp_path, "[]")
    named = {"_target_": "gen_searcher.testing.fault_plan.FaultPlan", "path": str(path)}
    listener: Listener = ClusterConfig.model_validate({"fault_plan": named}).fault_plan.build()  # pyright: ignore
    listener(Point.STEP_BOOKED)
    assert times_passed(path) == {Point.STEP_BOOKED: 1}
