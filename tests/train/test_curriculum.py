"""Which tasks an epoch visits, and that a run which was interrupted draws the same."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.errors import Interrupted
from gen_searcher.ledger.book import BookedStep, Ledger
from gen_searcher.ledger.spread import Spread, booked_epochs, spreads
from gen_searcher.ledger.states import LATE, NOTHING_TO_TEACH
from gen_searcher.testing.toy_training import FLAT_TASKS, NoRival
from gen_searcher.train.curriculum import Curriculum, CurriculumRules, left_out
from gen_searcher.train.run import RunFolder
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Group, Reward, Task
from tests.ledger.groups import group
from tests.train.toy_run import TASKS, toy_run

RULES = CurriculumRules(last_groups=2, min_share=0.25, drops_flat=True)


def test_a_task_is_the_less_likely_the_more_of_its_last_groups_were_flat() -> None:
    assert RULES.share(None) == 1.0
    assert RULES.share(Spread(groups=1, spread=1)) == 1.0
    assert RULES.share(Spread(groups=1, spread=0)) == 0.5
    assert RULES.share(Spread(groups=2, spread=1)) == pytest.approx(2 / 3)
    assert RULES.share(Spread(groups=9, spread=0)) == 0.25


def test_an_epoch_leaves_out_the_share_that_it_should_and_never_everything() -> None:
    tasks = [Task(id=f"t{number}", prompt="", target=None, meta={}) for number in range(2000)]
    shares = {task.id: 0.25 for task in tasks[:1000]}
    out = left_out(tasks, shares, seed=3, epoch=1)
    assert set(out) <= set(shares), "what was never flat is visited"
    assert len(out) == pytest.approx(750, abs=45)
    assert out == left_out(tasks[::-1], shares, seed=3, epoch=1)[::-1], "a coin per task, whatever the order"
    assert out != left_out(tasks, shares, seed=3, epoch=2)
    assert left_out(tasks[:1], {"t0": 0.0}, seed=3, epoch=1) == []


def flat(visit: int, task_id: str, *, is_flat: bool) -> Group:
    made = group(visit)
    first, second = made.attempts
    reward = Reward(total=first.reward.total if is_flat else first.reward.total + 0.5, parts={})
    task = replace(made.task, id=task_id)
    return replace(made, task=task, attempts=(first, replace(second, reward=reward)))


def test_the_books_know_of_the_last_groups_that_a_step_has_used(tmp_path: Path) -> None:
    with closing(Ledger.open(tmp_path / "ledger.sqlite", fence=NoRival())) as ledger:
        for visit, (task_id, is_flat) in enumerate(
            [("a", False), ("a", True), ("a", True), ("b", False), ("c", True), ("d", True)]
        ):
            ledger.issue(visit, task_id, version=0)
            ledger.score(flat(visit, task_id, is_flat=is_flat))
        step = BookedStep(step=1, attempts_bytes=0, metrics_bytes=0)
        ledger.book_step(step, trained=[0, 3], rejected={1: "flat", 2: "flat", 4: "flat"})
        assert spreads(ledger, last_groups=9, drops_flat=True) == {
            "a": Spread(groups=3, spread=1),
            "b": Spread(groups=1, spread=1),
            "c": Spread(groups=1, spread=0),
        }, "no step has used the group of d"
        assert spreads(ledger, last_groups=2, drops_flat=True)["a"] == Spread(groups=2, spread=0)
        tasks = [Task(id=name, prompt="", target=None, meta={}) for name in "abcd"]
        drawn = Curriculum(ledger, rules=RULES, seed=1)(1, tasks)
        ledger.book_step(BookedStep(step=2, attempts_bytes=0, metrics_bytes=0), trained=[], rejected={5: "flat"})
        assert Curriculum(ledger, rules=RULES, seed=1)(1, tasks) == drawn, "drawn once, whatever is booked since"
        assert booked_epochs(ledger) == {1: frozenset({"a", "b", "c", "d"} - {task.id for task in drawn})}


def test_what_a_step_did_with_a_group_says_more_than_its_plain_rewards(tmp_path: Path) -> None:
    """Equal rewards less unequal penalties for length do differ, and of unequal ones all may be masked."""
    groups = {"penalised": True, "masked": False, "late": False, "late and equal": True}
    with closing(Ledger.open(tmp_path / "ledger.sqlite", fence=NoRival())) as ledger:
        for visit, (task_id, is_flat) in enumerate(groups.items()):
            ledger.issue(visit, task_id, version=0)
            ledger.score(flat(visit, task_id, is_flat=is_flat))
        step = BookedStep(step=1, attempts_bytes=0, metrics_bytes=0)
        ledger.book_step(step, trained=[0], rejected={1: NOTHING_TO_TEACH, 2: LATE, 3: LATE})
        seen = spreads(ledger, last_groups=1, drops_flat=True)
        assert {task_id: one.spread for task_id, one in seen.items()} == {
            "penalised": 1, "masked": 0, "late": 1, "late and equal": 0,
        }  # fmt: skip
        everything = spreads(ledger, last_groups=1, drops_flat=False)
        assert everything["penalised"].spread == 0, "that a step has learned from it says nothing"


def begun(root: Path) -> list[str]:
    with closing(sqlite3.connect(RunFolder(root=root).ledger)) as db:
        return [row[0] for row in db.execute("SELECT task_id FROM instances ORDER BY visit")]


def epochs_left_out(root: Path) -> Mapping[int, frozenset[str]]:
    with closing(Ledger.open(RunFolder(root=root).ledger, fence=replace_token(root))) as ledger:
        return booked_epochs(ledger)


def replace_token(root: Path) -> NoRival:
    with closing(sqlite3.connect(RunFolder(root=root).ledger)) as db:
        (token,) = db.execute("SELECT token FROM run").fetchone()
    fence = NoRival()
    fence.token = token
    return fence


def test_flat_tasks_are_visited_less_and_an_interrupted_run_visits_the_same(tmp_path: Path) -> None:
    steps = 24
    toy_run(tmp_path / "whole", steps=steps, curriculum=RULES)
    for stop_after in (5, 8, 23):
        with pytest.raises(Interrupted):
            toy_run(tmp_path / "parts", steps=steps, curriculum=RULES, stop_after=stop_after)
    toy_run(tmp_path / "parts", steps=steps, curriculum=RULES)
    whole = begun(tmp_path / "whole")
    assert begun(tmp_path / "parts") == whole
    weights = [(tmp_path / name / "weights.json").read_text() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    is_flat = {task.id: derive_seed("flat", task.id) % FLAT_TASKS == 0 for task in TASKS}
    visits_of = Counter(whole)
    flat_mean = sum(visits_of[name] for name in is_flat if is_flat[name]) / sum(is_flat.values())
    others = [visits_of[name] for name in is_flat if not is_flat[name]]
    assert flat_mean < 0.75 * sum(others) / len(others)
    out = epochs_left_out(tmp_path / "whole")
    assert out[0] == frozenset(), "nothing is known before the first epoch"
    assert all(is_flat[name] for names in out.values() for name in names)
