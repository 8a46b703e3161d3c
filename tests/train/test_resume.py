"""A run that was ended goes on where it was, whatever ended it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.errors import Interrupted, StopRun, TooManyLost, UserError
from gen_searcher.ledger import schema
from gen_searcher.points import Point, heard_by
from gen_searcher.testing.toy_training import ToyAttempts, ToyLearner
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Attempt, Reward, Task
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, TASKS, toy_rules, toy_run, toy_training

STEPS = 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    toy_run(root, steps=STEPS)
    return root


def metric_steps(root: Path) -> list[int]:
    return [json.loads(line)["step"] for line in RunFolder(root=root).metrics.read_text().splitlines()]


def begun_tasks(root: Path) -> list[str]:
    with closing(sqlite3.connect(RunFolder(root=root).ledger)) as db:
        return [row[0] for row in db.execute("SELECT task_id FROM instances ORDER BY visit")]


@pytest.mark.fault(6)
@pytest.mark.parametrize("stop_after", [1, 4, 6])
def test_a_run_that_is_asked_to_end_saves_its_last_step_and_goes_on_to_the_same_weights(
    tmp_path: Path, whole: Path, stop_after: int
) -> None:
    with pytest.raises(Interrupted, match="run the same command again") as caught:
        toy_run(tmp_path, steps=STEPS, stop_after=stop_after)
    assert caught.value.exit_code == 75
    assert RunFolder(root=tmp_path).checkpoints.latest() == stop_after
    toy_run(tmp_path, steps=STEPS)
    assert metric_steps(tmp_path) == list(range(1, STEPS + 1))
    assert (tmp_path / "weights.json").read_text() == (whole / "weights.json").read_text()
    assert begun_tasks(tmp_path) == begun_tasks(whole)


class UnderWay:
    """Toy attempts, counted while they run."""

    def __init__(self, learner: ToyLearner) -> None:
        self.number = 0
        self._toy = ToyAttempts(learner, latency_s=0.02)

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        self.number += 1
        try:
            return await self._toy(task, seed=seed)
        finally:
            self.number -= 1


@pytest.mark.fault(6)
def test_nothing_is_bought_while_a_run_that_ends_saves_its_weights(tmp_path: Path) -> None:
    made: list[UnderWay] = []
    at_saves: list[int] = []

    def own(learner: ToyLearner) -> UnderWay:
        made.append(UnderWay(learner))
        return made[-1]

    def counts(point: Point) -> None:
        if point is Point.CHECKPOINT_WRITTEN:
            at_saves.append(made[-1].number)

    rules = toy_rules(steps=STEPS, max_staleness=1)
    with heard_by(counts), pytest.raises(Interrupted):
        asyncio.run(toy_training(tmp_path, rules, own, checkpoint_every_steps=4, stop_after=5))
    goes_on, ends = at_saves
    assert goes_on > 0
    assert ends == 0


def test_every_epoch_holds_every_task_once_however_often_the_run_was_ended(tmp_path: Path) -> None:
    for stop_after in (2, 3, 5, 8):
        with pytest.raises(Interrupted):
            toy_run(tmp_path, steps=STEPS, stop_after=stop_after)
    toy_run(tmp_path, steps=STEPS)
    begun = begun_tasks(tmp_path)
    epochs = [begun[start : start + len(TASKS)] for start in range(0, len(begun), len(TASKS))]
    assert len(begun) > len(TASKS), "groups without signal have used up more than an epoch"
    for epoch in epochs[:-1]:
        assert sorted(epoch) == sorted(task.id for task in TASKS)
    assert max(Counter(epochs[-1]).values()) == 1


@pytest.mark.fault(3)
def test_groups_that_an_earlier_start_finished_are_not_run_again(tmp_path: Path, whole: Path) -> None:
    toy_run(tmp_path, steps=STEPS, checkpoint_every_steps=STEPS)
    folder = RunFolder(root=tmp_path)
    folder.checkpoints.path.joinpath("latest").unlink()  # as if the machine had lost the weights, all of them
    again = toy_run(tmp_path, steps=STEPS, checkpoint_every_steps=STEPS)
    assert again.made == 0
    assert (tmp_path / "weights.json").read_text() == (whole / "weights.json").read_text()
    assert metric_steps(tmp_path) == list(range(1, STEPS + 1))


@pytest.mark.fault(14)
def test_a_step_that_cannot_be_booked_is_not_saved_and_the_same_command_makes_it_again(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_S", 0.0)
    folder, stepped = RunFolder(root=tmp_path), Counter[Point]()
    with ExitStack() as lock:

        def backs_up_the_ledger(point: Point) -> None:
            """From the fifth step on, between the step and its booking."""
            stepped[point] += 1
            if point is Point.LEARNER_STEPPED and stepped[point] == 5:
                db = lock.enter_context(closing(sqlite3.connect(folder.ledger, isolation_level=None)))
                db.execute("BEGIN IMMEDIATE")

        with heard_by(backs_up_the_ledger), pytest.raises(StopRun, match="database is locked"):
            toy_run(tmp_path, steps=STEPS)
    assert folder.checkpoints.latest() == 3
    toy_run(tmp_path, steps=STEPS)
    assert metric_steps(tmp_path) == list(range(1, STEPS + 1))
    assert (tmp_path / "weights.json").read_text() == (whole / "weights.json").read_text()


class Judged:
    """Toy attempts by a judge that finds all of them worth nothing until it is mended."""

    def __init__(self, learner: ToyLearner, *, is_mended: bool) -> None:
        self.toy = ToyAttempts(learner, latency_s=0.001)
        self._is_mended = is_mended

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        made = await self.toy(task, seed=seed)
        return made if self._is_mended else replace(made, reward=Reward(total=0.0, parts={}))


def judged_run(root: Path, made: list[Judged], *, is_mended: bool) -> None:
    """One start; `made` gets its attempts."""

    def own(learner: ToyLearner) -> Judged:
        made.append(Judged(learner, is_mended=is_mended))
        return made[-1]

    rules = toy_rules(steps=5, max_staleness=0)
    asyncio.run(toy_training(root, rules, own, checkpoint_every_steps=3))


@pytest.mark.fault(39)
def test_a_run_that_had_nothing_to_learn_from_goes_on_with_other_tasks_once_its_judge_is_mended(tmp_path: Path) -> None:
    in_vain, made = 20, list[Judged]()  # those under way when the 18th had ended end too
    for starts in (1, 2):
        with pytest.raises(TooManyLost, match=f"^{in_vain} groups in a row had nothing to teach"):
            judged_run(tmp_path, made, is_mended=False)
        assert made[-1].toy.made == in_vain * GROUP_SIZE, "as many others, and none of those again"
        with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
            assert db.execute("SELECT state, reason, count(*) FROM instances GROUP BY state, reason").fetchall() == [
                ("scored", "nothing to teach", in_vain * starts)
            ]
    judged_run(tmp_path, made, is_mended=True)
    assert metric_steps(tmp_path) == [1, 2, 3, 4, 5]
    with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
        rows = db.execute("SELECT state, reason, step, count(*) FROM instances GROUP BY state, reason, step").fetchall()
        (begun,) = db.execute("SELECT begun FROM run").fetchone()
        (flat,) = db.execute(
            "SELECT count(*) FROM instances WHERE visit < 36 AND state = 'rejected' AND step = 1"
        ).fetchone()
    assert flat == 36, "the next step that was published has passed all of them over"
    assert sum(number for *_, number in rows) == begun
    assert sum(number for state, _, _, number in rows if state == "trained") == 5 * GROUPS_PER_STEP
    lines = [json.loads(line) for line in RunFolder(root=tmp_path).attempts.read_text().splitlines()]
    members = Counter((row["group"], row["attempt"]["seed"]) for row in lines if row["kind"] == "attempt")
    assert set(members.values()) == {1}
    assert len(members) == begun * GROUP_SIZE


def test_a_longer_run_goes_on_from_the_end(tmp_path: Path) -> None:
    toy_run(tmp_path, steps=3)
    toy_run(tmp_path, steps=5)
    assert metric_steps(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.fault(3)
def test_an_older_checkpoint_can_be_chosen_and_its_steps_are_trained_again_from_what_was_kept(
    tmp_path: Path, whole: Path
) -> None:
    toy_run(tmp_path, steps=STEPS)
    folder = RunFolder(root=tmp_path)
    assert folder.checkpoints.steps() == [6, 9]
    (folder.checkpoints.path / "latest").write_text("step-6\n")
    again = toy_run(tmp_path, steps=STEPS)
    assert again.made == 0
    assert (tmp_path / "weights.json").read_text() == (whole / "weights.json").read_text()


def test_a_checkpoint_without_its_ledger_is_refused(tmp_path: Path) -> None:
    toy_run(tmp_path, steps=3)
    RunFolder(root=tmp_path).ledger.unlink()
    with pytest.raises(UserError, match="the ledger beside it never booked that step"):
        toy_run(tmp_path, steps=5)


def test_what_an_asynchronous_run_ended_but_did_not_use_is_on_record_and_used_by_the_next_start(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        toy_run(tmp_path, steps=STEPS, stop_after=3, max_staleness=2)
    attempts = RunFolder(root=tmp_path).attempts
    with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
        (scored,) = db.execute("SELECT count(*) FROM instances WHERE state = 'scored'").fetchone()
    logged = [json.loads(line)["step"] for line in attempts.read_text().splitlines() if '"kind":"attempt"' in line]
    assert Counter(logged)[4] == scored * GROUP_SIZE
    toy_run(tmp_path, steps=STEPS, max_staleness=2)
    rows = [json.loads(line) for line in attempts.read_text().splitlines()]
    members = Counter((row["group"], row["attempt"]["seed"]) for row in rows if row["kind"] == "attempt")
    assert set(members.values()) == {1}, "no attempt is on record twice"
    with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
        (trained,) = db.execute("SELECT count(*) FROM instances WHERE state = 'trained'").fetchone()
    assert trained == STEPS * GROUPS_PER_STEP


@pytest.mark.fault(4)
@pytest.mark.parametrize("moment", ["before the rename", "after the rename", "while the oldest is deleted"])
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path, whole: Path, moment: str) -> None:
    with pytest.raises(Interrupted):
        toy_run(tmp_path, steps=STEPS, stop_after=7)
    folder = RunFolder(root=tmp_path)
    assert folder.checkpoints.steps() == [6, 7]
    half = folder.checkpoints.folder(9)
    if moment == "before the rename":
        half = half.with_suffix(".partial")
    elif moment == "while the oldest is deleted":
        half = folder.checkpoints.folder(3).with_suffix(".old")
    half.mkdir()
    toy_run(tmp_path, steps=STEPS)
    assert (tmp_path / "weights.json").read_text() == (whole / "weights.json").read_text()
    assert folder.checkpoints.steps() == [7, 9]
    assert [path.name for path in folder.checkpoints.path.glob("*.*")] == []
