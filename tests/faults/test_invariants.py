"""The checker itself: each invariant, broken by hand in a good run directory, is noticed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gen_searcher.train.run import RunFolder
from tests.faults import invariants
from tests.faults.invariants import Accounts, accounts, check_run, check_same
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

STEPS = 3


def check(root: Path) -> Accounts:
    return check_run(root, steps=STEPS, group_size=GROUP_SIZE, groups_per_step=GROUPS_PER_STEP)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good")
    toy_run(root, steps=STEPS)
    return root


def in_ledger(*statements: str) -> Callable[[Path], None]:
    def break_it(root: Path) -> None:
        with closing(sqlite3.connect(RunFolder(root=root).ledger)) as db:
            for statement in ("DROP TRIGGER instance_moves", *statements):
                db.execute(statement)
            db.commit()

    return break_it


def last_line(
    path_of: Callable[[RunFolder], Path], change: Callable[[dict[str, object]], object]
) -> Callable[[Path], None]:
    def break_it(root: Path) -> None:
        path = path_of(RunFolder(root=root))
        lines = path.read_text().splitlines()
        row = json.loads(lines[-1])
        change(row)
        path.write_text("\n".join([*lines[:-1], json.dumps(row)]) + "\n")

    return break_it


def twice(root: Path) -> None:
    path = RunFolder(root=root).attempts
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")


def half_written(root: Path) -> None:
    (RunFolder(root=root).checkpoints.path / "step-9.partial").mkdir()


BROKEN: dict[str, Callable[[Path], None]] = {
    "a member without an end": in_ledger(
        "DELETE FROM members WHERE id = (SELECT min(id) FROM members WHERE kind = 'attempt')"
    ),
    "a lost try with a number": in_ledger("UPDATE members SET reward = 0.0 WHERE kind = 'lost'"),
    "an instance that stands nowhere": in_ledger("UPDATE run SET begun = begun + 1"),
    "an instance that still runs": in_ledger("UPDATE instances SET state = 'running' WHERE visit = 0"),
    "an instance used by another step": in_ledger("UPDATE instances SET step = 1 + step % 3 WHERE visit = 0"),
    "a reward that the record does not have": in_ledger(
        "UPDATE members SET reward = reward + 1 WHERE kind = 'attempt'"
    ),
    "a step booked and not told": last_line(lambda folder: folder.metrics, lambda row: row.update(step=7)),
    "a step that was forgotten": in_ledger("DELETE FROM steps WHERE step = 2"),
    "an attempt told twice": twice,
    "half a checkpoint": half_written,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_invariant_is_noticed(tmp_path: Path, good: Path, what: str) -> None:
    assert check(good).lost_tries > 0, "or nothing is shown about them"
    root = tmp_path / "broken"
    shutil.copytree(good, root)
    BROKEN[what](root)
    before = invariants.CHECKED
    invariants.CHECKED = invariants.Checked()
    try:
        with pytest.raises(AssertionError):
            check(root)
    finally:
        invariants.CHECKED = before


def test_runs_of_other_rewards_are_not_the_same(tmp_path: Path, good: Path) -> None:
    check_same(accounts(good), accounts(good))
    root = tmp_path / "other"
    shutil.copytree(good, root)
    in_ledger("UPDATE members SET reward = reward / 2 WHERE kind = 'attempt'")(root)
    with pytest.raises(AssertionError):
        check_same(accounts(root), accounts(good))
