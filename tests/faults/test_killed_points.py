"""Killed between two things that must both happen or neither: the run goes on as if nothing had been.

The loop, the ledger and the files are the real ones, learner and attempts are small; `tests/e2e/test_killed_points.py` does
the same to the real learner and rollout worker.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gen_searcher.points import Point
from gen_searcher.testing.fault_plan import times_passed
from gen_searcher.train.run import RunFolder
from tests.faults.invariants import TRIES, check_run, check_same
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

STEPS = 7
CHECKPOINT_EVERY = 2


def run_until_done(root: Path, plan: Path) -> list[int | None]:
    """The exit codes of all starts of the run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.toy_run"])
    keywords = {"steps": STEPS, "checkpoint_every_steps": CHECKPOINT_EVERY, "plan": plan}
    codes: list[int | None] = []
    while 0 not in codes and len(codes) < 10:
        process = context.Process(target=toy_run, args=(root,), kwargs=keywords)
        process.start()
        process.join(timeout=100)
        codes.append(process.exitcode)
    return codes


def planned(path: Path, kills: list[tuple[Point, int]]) -> Path:
    path.write_text(yaml.safe_dump([{"point": str(point), "time": time, "kind": "kill"} for point, time in kills]))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    toy_run(root, steps=STEPS, checkpoint_every_steps=CHECKPOINT_EVERY)
    return root


def assert_equal_runs(root: Path, whole: Path) -> None:
    sizes = {"group_size": GROUP_SIZE, "groups_per_step": GROUPS_PER_STEP}
    check_same(check_run(root, steps=STEPS, **sizes), check_run(whole, steps=STEPS, **sizes))
    assert (root / "weights.json").read_text() == (whole / "weights.json").read_text()
    assert RunFolder(root=root).checkpoints.latest() == STEPS


LEARNER = [(Point.LEARNER_BACKWARD, 3), (Point.LEARNER_STEPPED, 5), (Point.STEP_BOOKED, 5)]
CHECKPOINT = [(Point.CHECKPOINT_WRITTEN, 2), (Point.CHECKPOINT_RENAMED, 2), (Point.CHECKPOINT_POINTED, 2)]


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(LEARNER, marks=pytest.mark.fault(3), id="between backward, step and checkpoint"),
        pytest.param(CHECKPOINT, marks=pytest.mark.fault(4), id="while a checkpoint is written"),
    ],
)
def test_a_kill_between_two_halves_changes_neither_a_count_nor_a_bit(
    tmp_path: Path, whole: Path, kills: list[tuple[Point, int]], record_property: Callable[[str, object], None]
) -> None:
    record_property(TRIES, len(kills))
    plan = planned(tmp_path / "plan.yaml", kills)
    codes = run_until_done(tmp_path / "run", plan)
    assert codes == [-signal.SIGKILL] * len(kills) + [0]
    assert all(times_passed(plan)[point] > time for point, time in kills), "each was passed again, and survived"
    assert_equal_runs(tmp_path / "run", whole)


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("point", "goes_on_from"),
    [(Point.CHECKPOINT_WRITTEN, 2), (Point.CHECKPOINT_RENAMED, 2), (Point.CHECKPOINT_POINTED, 4)],
)
def test_a_checkpoint_counts_from_the_moment_that_the_pointer_names_it(
    tmp_path: Path, point: Point, goes_on_from: int
) -> None:
    """The second checkpoint is that of step 4."""
    plan = planned(tmp_path / "plan.yaml", [(point, 2)])
    process = multiprocessing.get_context("forkserver").Process(
        target=toy_run,
        args=(tmp_path / "run",),
        kwargs={"steps": STEPS, "checkpoint_every_steps": CHECKPOINT_EVERY, "plan": plan},
    )
    process.start()
    process.join(timeout=100)
    assert process.exitcode == -signal.SIGKILL
    assert RunFolder(root=tmp_path / "run").checkpoints.latest() == goes_on_from
