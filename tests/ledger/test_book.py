"""The ledger's transactions, one by one and in any order."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gen_searcher.errors import CUT_OFF, TOO_LATE, LeaseLost, StopRun, UserError
from gen_searcher.ledger.book import BookedStep, Ledger, LedgerBroken
from gen_searcher.ledger.recovery import roll_back
from gen_searcher.ledger.states import State
from gen_searcher.types import Group, Lost
from tests.ledger.groups import attempt, group, task


@dataclass
class Token:
    """A fence that only the database guards."""

    token: int

    def check(self) -> None:
        """The lease files are not asked."""


def opened(folder: Path, token: int = 1) -> Ledger:
    return Ledger.open(folder / "ledger.sqlite", fence=Token(token))


def issue(ledger: Ledger, *numbers: int, version: int = 0) -> None:
    for number in numbers:
        ledger.issue(number, task(number).id, version=version)


def step(number: int) -> BookedStep:
    return BookedStep(step=number, attempts_bytes=100 * number, metrics_bytes=10 * number)


def test_a_group_comes_back_as_it_was_after_the_process_is_gone(tmp_path: Path) -> None:
    made = group(0, version=0, lost_try=True, lost_member=True)
    ledger = opened(tmp_path)
    issue(ledger, 0)
    ledger.keep(0, made.attempts[0])
    ledger.score(made)
    with closing(opened(tmp_path, token=2)) as later:
        assert later.restored(0, made.task) == made


def test_reward_and_cost_of_an_attempt_are_on_disk_before_its_group_ends(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    issue(ledger, 0)
    ledger.keep(0, attempt("t0", 5, reward=0.75, cost_usd=0.25))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        assert db.execute("SELECT seed, reward, cost_usd FROM members").fetchall() == [(5, 0.75, 1.75)]
    ledger.close()


def test_nothing_of_a_group_stays_in_memory_once_it_is_scored_what_it_did_not_use_included(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    issue(ledger, 0, 1)
    for number in (0, 1):
        for one in (*group(number).attempts, attempt(f"t{number}", 99)):
            ledger.keep(number, one)
    ledger.score(group(0))
    assert list(ledger._written) == [1], "only what still runs"
    assert sorted(ledger.kept(0)) == [0, 1, 99], "on disk it stays"
    ledger.close()


def test_work_begun_before_counts_its_age_from_then_and_other_work_from_now(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    issue(ledger, 0, 1, version=3)
    ledger.keep(0, attempt("t0", 5))
    with closing(opened(tmp_path, token=2)) as later:
        found = roll_back(later, 0, cut_metrics=())
        assert (found.unfinished, found.kept_attempts) == (2, 1)
        assert [(one.visit, one.version) for one in later.pending()] == [(0, 3), (1, None)]
        assert later.issue(0, "t0", version=7) == 3
        assert later.issue(1, "t1", version=7) == 7
        assert list(later.kept(0)) == [5]


def test_a_step_whose_weights_were_lost_gives_its_groups_back_and_none_of_the_earlier_ones(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for number in range(4):
        issue(ledger, number, version=number // 2)
        ledger.score(group(number, version=number // 2))
    ledger.book_step(step(1), trained=[0], rejected={1: "nothing to teach"})
    ledger.book_step(step(2), trained=[2], rejected={3: "nothing to teach"})
    later = opened(tmp_path, token=2)
    found = roll_back(later, 1, cut_metrics=["a line"])
    assert found.lost_steps == (2,)
    assert (found.begun, found.finished, found.unfinished) == (4, 2, 0)
    assert (found.attempts_bytes, found.metrics_bytes) == (100, 10)
    assert later.tally().counts[State.TRAINED] == later.tally().counts[State.REJECTED] == 1
    assert later.restored(2, task(2)) == group(2, version=1)
    assert later.orphans() == frozenset()
    assert found.made_before == 2
    again = roll_back(later, 1, cut_metrics=())
    assert (again.lost_steps, again.made_before) == ((), 2), "a start that was killed before it made the step again"
    assert roll_back(later, 0, cut_metrics=()).finished == 4
    assert later.orphans() == {2, 3}, "sampled by weights of step 1, which a start from step 0 does not have"
    later.close()


def test_payloads_go_with_the_oldest_checkpoint_and_what_has_none_is_run_again(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for number in range(3):
        issue(ledger, number)
        ledger.score(group(number))
    for number in (1, 2, 3):
        ledger.book_step(step(number), trained=[number - 1], rejected={})
    ledger.checkpointed(2, oldest=1)
    found = roll_back(ledger, 0, cut_metrics=())
    assert (found.finished, found.unfinished) == (2, 1)
    assert [one.visit for one in ledger.pending() if ledger.restored(one.visit, task(one.visit)) is None] == [0]
    ledger.close()


def test_a_group_that_an_outage_spoiled_is_tried_again_and_what_it_has_is_kept(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    issue(ledger, 0, 1)
    ledger.score(group(0, lost_member=True))
    ledger.score(group(1, lost_try=True))
    found = roll_back(ledger, 0, cut_metrics=())
    assert (found.finished, found.unfinished, found.kept_attempts) == (1, 1, 1)
    issue(ledger, 0)
    whole = group(0, version=0)
    ledger.score(whole)
    assert ledger.restored(0, whole.task) == whole
    ledger.close()


def test_a_group_is_run_again_only_when_the_last_thing_that_befell_a_member_was_the_worlds_doing(
    tmp_path: Path,
) -> None:
    short = group(0, lost_member=True)
    not_needed = Lost(task_id=short.task.id, seed=short.lost[0].seed, stage=CUT_OFF, error="there are enough")
    late = group(2, lost_member=True)
    too_late = Lost(task_id=late.task.id, seed=late.lost[0].seed, stage=CUT_OFF, error=TOO_LATE)
    with closing(opened(tmp_path)) as ledger:
        issue(ledger, 0, 1, 2)
        ledger.score(replace(short, lost=(*short.lost, not_needed)))
        ledger.score(group(1, lost_member=True))
        ledger.score(replace(late, lost=(*late.lost, too_late)))
    with closing(opened(tmp_path, token=2)) as later:
        found = roll_back(later, 0, cut_metrics=())
        assert (found.finished, found.unfinished) == (1, 2)
        assert later.restored(0, short.task) is not None


def test_while_lost_members_are_tried_again_the_group_can_be_read_as_it_was(tmp_path: Path) -> None:
    spoiled = group(0, version=0, lost_try=True, lost_member=True)
    ledger = opened(tmp_path)
    issue(ledger, 0, 1)
    ledger.score(spoiled)
    ledger.reopen(0)
    assert ledger.restored(0, spoiled.task) is None, "it is not finished"
    assert ledger.restored(0, spoiled.task, reopened=True) == spoiled
    assert ledger.restored(1, task(1), reopened=True) is None, "nothing of it has ended"


def test_a_damaged_payload_is_made_again(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    issue(ledger, 0)
    ledger.keep(0, attempt("t0", 5))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        db.execute("UPDATE members SET payload = x'00'")
        db.commit()
    assert ledger.kept(0) == {}
    ledger.close()


@pytest.mark.fault(7)
def test_a_stale_holder_is_refused_every_write_and_changes_nothing(tmp_path: Path) -> None:
    stale = opened(tmp_path, token=1)
    issue(stale, 0)
    with closing(opened(tmp_path, token=2)) as current:
        for write in (
            lambda: issue(stale, 1),
            lambda: stale.keep(0, attempt("t0", 5)),
            lambda: stale.score(group(0)),
            lambda: stale.book_step(step(1), trained=[0], rejected={}),
            lambda: stale.checkpointed(1, oldest=0),
        ):
            with pytest.raises(LeaseLost, match="taken over"):
                write()
        assert current.tally().counts[State.RUNNING] == current.tally().begun == 1
        with pytest.raises(LeaseLost):
            opened(tmp_path, token=1)
    stale.close()


def test_a_step_cannot_be_booked_twice_or_use_a_group_twice(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as ledger:
        issue(ledger, 0, 1)
        ledger.score(group(0))
        ledger.score(group(1))
        ledger.book_step(step(1), trained=[0], rejected={})
        for number, visit in ((1, 1), (2, 0)):
            with pytest.raises(sqlite3.IntegrityError):
                ledger.book_step(step(number), trained=[visit], rejected={})
        with pytest.raises(LedgerBroken, match="visit 9 to be trained: 0 rows"):
            ledger.book_step(step(2), trained=[1, 9], rejected={})
        assert ledger.restored(1, task(1)) is not None, "the other group of the refused step still waits"


def test_a_checkpoint_that_the_ledger_does_not_know_is_refused(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as ledger, pytest.raises(UserError, match="never booked that step"):
        roll_back(ledger, 4, cut_metrics=())


@pytest.mark.fault(14)
def test_a_full_disk_stops_the_run_with_the_books_in_order(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger._db.execute("PRAGMA max_page_count=1")  # SQLite takes that for: not a page more than now
    scored: list[int] = []

    def fill_the_disk() -> None:
        for number in range(1000):
            issue(ledger, number)
            ledger.score(group(number))
            scored.append(number)

    with pytest.raises(StopRun, match="full") as caught:
        fill_the_disk()
    assert caught.value.exit_code == 3
    assert ledger.tally().is_conserved
    assert ledger.tally().counts[State.SCORED] == len(scored)
    ledger._db.execute("PRAGMA max_page_count=100000")
    issue(ledger, ledger.tally().begun)
    ledger.close()


def test_a_file_that_is_no_ledger_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    before = path.read_bytes()
    with pytest.raises(UserError, match="damaged"):
        opened(tmp_path)
    assert path.read_bytes() == before


@dataclass
class Model:
    """What the ledger should say."""

    states: dict[int, State] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    step_of: dict[int, int] = field(default_factory=dict)

    def having(self, *states: State) -> list[int]:
        return [visit for visit, state in self.states.items() if state in states]


class Books(RuleBasedStateMachine):
    """Any order of transactions, illegal ones and restarts among them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.token = 1
        self.ledger = opened(Path(self.folder.name))
        self.model = Model()
        self.step = 0

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    @rule()
    def begin(self) -> None:
        visit = len(self.model.states)
        issue(self.ledger, visit, version=self.step)
        self.model.states[visit] = State.RUNNING

    @precondition(lambda self: self.model.having(State.QUEUED))
    @rule(data=st.data())
    def issue_again(self, data: st.DataObject) -> None:
        visit = data.draw(st.sampled_from(self.model.having(State.QUEUED)))
        issue(self.ledger, visit, version=self.step)
        self.model.states[visit] = State.RUNNING

    @precondition(lambda self: self.model.having(State.RUNNING))
    @rule(data=st.data(), is_kept_first=st.booleans(), lost_member=st.booleans())
    def score(self, data: st.DataObject, is_kept_first: bool, lost_member: bool) -> None:
        visit = data.draw(st.sampled_from(self.model.having(State.RUNNING)))
        made = group(visit, version=self.step, lost_member=lost_member)
        if is_kept_first:
            self.ledger.keep(visit, made.attempts[-1])
        self.ledger.score(made)
        self.model.states[visit], self.model.groups[visit] = State.SCORED, made

    @precondition(lambda self: self.model.having(State.SCORED))
    @rule(data=st.data())
    def book(self, data: st.DataObject) -> None:
        used = data.draw(st.lists(st.sampled_from(self.model.having(State.SCORED)), unique=True, min_size=1))
        half = len(used) // 2
        self.step += 1
        self.ledger.book_step(step(self.step), trained=used[:half], rejected=dict.fromkeys(used[half:], "flat"))
        for place, visit in enumerate(used):
            self.model.states[visit] = State.TRAINED if place < half else State.REJECTED
            self.model.step_of[visit] = self.step

    @rule(data=st.data())
    def do_something_illegal(self, data: st.DataObject) -> None:
        wrong = self.model.having(State.QUEUED, State.TRAINED, State.REJECTED)
        visit = data.draw(st.sampled_from([*wrong, len(self.model.states)]))
        with pytest.raises((sqlite3.IntegrityError, LedgerBroken)):
            self.ledger.score(group(visit))

    @rule(data=st.data(), is_killed=st.booleans())
    def start_again(self, data: st.DataObject, is_killed: bool) -> None:
        checkpoint = data.draw(st.integers(0, self.step))
        if not is_killed:
            self.ledger.close()
        self.token += 1
        stale, self.ledger = self.ledger, opened(Path(self.folder.name), token=self.token)
        if is_killed:
            with pytest.raises(LeaseLost):
                stale.note("late", "write")
            stale.close()
        roll_back(self.ledger, checkpoint, cut_metrics=())
        for visit, state in self.model.states.items():
            is_lost = self.model.step_of.get(visit, 0) > checkpoint
            if is_lost:
                del self.model.step_of[visit]
                self.model.states[visit] = State.SCORED
            elif state is State.RUNNING or (state is State.SCORED and self.model.groups[visit].given_up):
                self.model.states[visit] = State.QUEUED
        self.step = checkpoint

    @invariant()
    def every_instance_stands_where_it_should(self) -> None:
        tally = self.ledger.tally()
        assert tally.is_conserved
        assert tally.begun == len(self.model.states)
        assert {s: n for s, n in tally.counts.items() if n} == Counter(self.model.states.values())

    @invariant()
    def finished_groups_are_what_they_were(self) -> None:
        for visit in self.model.having(State.SCORED):
            assert self.ledger.restored(visit, task(visit)) == self.model.groups[visit]

    @invariant()
    def what_waits_is_what_no_step_has_used(self) -> None:
        waiting = self.model.having(State.QUEUED, State.RUNNING, State.SCORED)
        assert [one.visit for one in self.ledger.pending()] == sorted(waiting)


Books.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestBooksInAnyOrder = Books.TestCase
