"""A run that gives up members or groups on purpose, ended at once and started again: the same is trained, nothing twice."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.points import Listener, Point, heard_by
from gen_searcher.testing.fault_plan import PlantedFault
from gen_searcher.testing.toy_training import ToyAttempts, ToyLearner
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.grpo import GrpoRules
from gen_searcher.train.run import RunFolder
from gen_searcher.train.tail import TailRules
from gen_searcher.types import Attempt, Task
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_rules, toy_training

STEPS, EVERY = 6, 3
TAIL = GroupRules(size=GROUP_SIZE, tries=2, deadline_s=30.0, tail=TailRules(members=2, wait_s=0.1))
SPARE = GroupRules(size=GROUP_SIZE, tries=2, deadline_s=30.0, spare=2)


def rules_of(*, group: GroupRules | None = None, spare_groups: int = 0, max_staleness: int = 0) -> GrpoRules:
    rules = toy_rules(steps=STEPS, max_staleness=max_staleness, spare_groups=spare_groups)
    return rules if group is None else replace(rules, group=group)


class Mortal:
    """Toy attempts that take about a second of virtual time; the one after `dies_after` ends the run."""

    def __init__(self, learner: ToyLearner, dies_after: int | None) -> None:
        self.toy = ToyAttempts(learner, latency_s=1.0)
        self.began = 0
        self._dies_after = dies_after

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        made = await self.toy(task, seed=seed)
        if self.toy.made == self._dies_after:
            raise PlantedFault("planted in an attempt")
        return made


def started(root: Path, rules: GrpoRules, *, dies_after: int | None = None) -> Mortal:
    """One start of the run, to its end."""
    made: list[Mortal] = []

    def own(learner: ToyLearner) -> Mortal:
        made.append(Mortal(learner, dies_after))
        return made[0]

    run_virtually(toy_training(root, rules, own, checkpoint_every_steps=EVERY))
    return made[0]


def dies_when_booked(step: int) -> Listener:
    booked = Counter[Point]()

    def listener(point: Point) -> None:
        booked[point] += 1
        if point is Point.STEP_BOOKED and booked[point] == step:
            raise PlantedFault(f"planted after step {step}")

    return listener


def trained(root: Path) -> dict[int, list[tuple[int, int]]]:
    """Step -> visit and seed of everything that it learned from."""
    with closing(sqlite3.connect(RunFolder(root=root).ledger)) as db:
        rows = db.execute(
            "SELECT i.step, i.visit, m.seed FROM instances i JOIN members m USING (visit) WHERE i.state = 'trained' "
            "AND m.kind = 'attempt' AND m.place IS NOT NULL ORDER BY i.step, i.visit, m.place"
        ).fetchall()
    found: dict[int, list[tuple[int, int]]] = {}
    for step, visit, seed in rows:
        found.setdefault(step, []).append((visit, seed))
    return found


def counts(root: Path) -> tuple[int, int]:
    """Attempts on record and how many of them the line file holds; both without repetition."""
    folder = RunFolder(root=root)
    with closing(sqlite3.connect(folder.ledger)) as db:
        (ended,) = db.execute("SELECT count(*) FROM members WHERE kind = 'attempt'").fetchone()
    rows = [json.loads(line) for line in folder.attempts.read_text().splitlines()]
    lines = Counter((row["group"], row["attempt"]["seed"]) for row in rows if row["kind"] == "attempt")
    assert set(lines.values()) == {1}
    return ended, len(lines)


@pytest.mark.parametrize("restarts", [(), (1,), (1, 2)])
def test_groups_that_lost_steps_did_not_wait_for_are_not_trained_in_the_place_of_complete_ones(
    tmp_path: Path, restarts: tuple[int, ...]
) -> None:
    rules, whole, again = rules_of(spare_groups=2), tmp_path / "whole", tmp_path / "again"
    started(whole, rules)
    with heard_by(dies_when_booked(5)), pytest.raises(PlantedFault):
        started(again, rules)
    with closing(sqlite3.connect(RunFolder(root=again).ledger)) as db:
        late = "SELECT count(*) FROM instances WHERE step > 3 AND reason = 'enough other groups were complete'"
        assert db.execute(late).fetchone()[0] > 0, "a fragment could be taken for a group"
    for dies_after in restarts:
        with pytest.raises(PlantedFault):
            started(again, rules, dies_after=dies_after)
    started(again, rules)
    assert trained(again) == trained(whole)
    assert counts(again) == counts(whole), "what was not waited for is on record once, the second time too"
    assert (again / "weights.json").read_text() == (whole / "weights.json").read_text()


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_no_fragment_is_ever_trained_wherever_a_run_with_spare_groups_was_ended(
    tmp_path: Path, max_staleness: int
) -> None:
    rules = rules_of(spare_groups=2, max_staleness=max_staleness)
    for dies_after in (5, 11, 7, 13, 9):
        with pytest.raises(PlantedFault):
            started(tmp_path, rules, dies_after=dies_after)
    started(tmp_path, rules)
    assert [len(members) for members in trained(tmp_path).values()] == [GROUPS_PER_STEP * GROUP_SIZE] * STEPS


@pytest.mark.parametrize("group", [TAIL, SPARE], ids=["tail", "spare"])
def test_members_that_a_group_went_without_are_not_made_after_a_restart(tmp_path: Path, group: GroupRules) -> None:
    rules, whole, again = rules_of(group=group), tmp_path / "whole", tmp_path / "again"
    in_one = started(whole, rules)
    with heard_by(dies_when_booked(5)), pytest.raises(PlantedFault):
        started(again, rules)
    ended, _ = counts(again)
    second = started(again, rules)
    assert trained(again) == trained(whole)
    assert counts(again) == counts(whole)
    assert second.toy.made == in_one.toy.made - ended, "steps 4 and 5 are trained again and made from what was kept"
    assert (again / "weights.json").read_text() == (whole / "weights.json").read_text()


@pytest.mark.parametrize("group", [TAIL, SPARE], ids=["tail", "spare"])
def test_groups_that_had_ended_without_some_members_are_whole_groups_for_the_next_start(
    tmp_path: Path, group: GroupRules
) -> None:
    rules = rules_of(group=group)
    with pytest.raises(PlantedFault):
        started(tmp_path, rules, dies_after=27)
    with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
        scored = db.execute(
            "SELECT visit, sum(seed) FROM members JOIN instances USING (visit) "
            "WHERE state = 'scored' AND place IS NOT NULL AND kind = 'attempt' GROUP BY visit"
        ).fetchall()
        cut = "SELECT count(*) FROM members JOIN instances USING (visit) WHERE state = 'scored' AND kind = 'lost'"
        assert db.execute(cut).fetchone()[0] > 0
    assert scored
    started(tmp_path, rules)
    with closing(sqlite3.connect(RunFolder(root=tmp_path).ledger)) as db:
        for visit, seeds in scored:
            issued, now = db.execute(
                "SELECT issues, sum(seed) FROM instances JOIN members USING (visit) WHERE visit = ? "
                "AND place IS NOT NULL AND kind = 'attempt'",
                (visit,),
            ).fetchone()
            assert (issued, now) == (1, seeds), f"visit {visit} is what it was"
