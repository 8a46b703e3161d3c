"""The ledger itself: one transaction per transition, each refused to a process that no longer holds the lease.

issue -> keep* -> score -> book_step -> checkpointed
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, cast

from gen_searcher.errors import LeaseLost, StopRun
from gen_searcher.ledger.payload import (
    Unreadable,
    cost_usd,
    pack_attempt,
    pack_lost,
    unpack_attempt,
    unpack_lost,
)
from gen_searcher.ledger.schema import connect, writing_to
from gen_searcher.ledger.states import LATE, State, Tally
from gen_searcher.types import Attempt, Group, Task

log = logging.getLogger(__name__)


class LedgerBroken(Exception):
    """The books do not agree with themselves: a bug. Nothing of the transaction was written."""


class Fence(Protocol):
    """What proves that this process may write."""

    @property
    def token(self) -> int:
        """Larger than that of every earlier holder."""
        ...

    def check(self) -> None:
        """Raises LeaseLost once somebody else holds the lease."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An instance that was begun and that no step has used."""

    visit: int
    task_id: str
    version: int | None
    """Policy version that the kept attempts were started at; None when nothing is kept."""
    begun_at: int = 0
    """Policy version when it was begun last."""
    set_aside: bool = False
    """The run ended because groups like it had nothing to teach: they are not counted against the next start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedStep:
    """A published step, and how long the run's line files were when it was booked [bytes]."""

    step: int
    attempts_bytes: int
    metrics_bytes: int


class Ledger:
    """The books of one run. Blocking, for one thread; a transaction takes some tenths of a millisecond."""

    def __init__(self, path: Path, db: sqlite3.Connection, fence: Fence) -> None:
        """Use `open`."""
        self._path = path
        self._db = db
        self.fence = fence
        """Asked before anything else of the run is written, too."""
        self._written: dict[int, dict[int, Attempt]] = {}
        """What `keep` wrote of instances that still run: visit -> seed -> attempt, megabytes each."""

    @classmethod
    def open(cls, path: Path, *, fence: Fence) -> Self:
        """Open or make it; from here on holders of older tokens are refused.

        Raises:
            LeaseLost: A newer holder has opened it.
            LedgerBroken: Its counts do not agree with its rows.
            StopRun, UserError: See `schema.connect`.
        """
        ledger = cls(path, connect(path), fence)
        try:
            ledger._take_over()
        except (LeaseLost, LedgerBroken, sqlite3.Error):
            ledger._db.close()
            raise
        return ledger

    def close(self) -> None:
        """Put what still runs back into the queue, bring everything to the disk, close."""
        try:
            with self.writing() as db:
                db.execute("UPDATE instances SET state = 'queued' WHERE state = 'running'")
            self.sync()
        except LeaseLost:
            pass  # the new holder has the books; there is nothing left to put in order
        except StopRun as error:  # a full disk: the next start puts them in order
            log.warning("%s", error)
        finally:
            self._db.close()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """One transaction, whole or not at all. Raises LeaseLost when it is not ours to write any more."""
        self.fence.check()
        with writing_to(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if self._one("SELECT token FROM run") != self.fence.token:
                    raise LeaseLost(f"another process has taken over {self._path}; this one has stopped writing")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:  # a cancelled caller too: what was begun is undone, and the error goes on
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise

    def tally(self) -> Tally:
        """How many instances stand where."""
        rows = cast("list[tuple[str, int]]", self._db.execute("SELECT state, count FROM tally").fetchall())
        return Tally(begun=self._one("SELECT begun FROM run"), counts={State(state): count for state, count in rows})

    def check_conserved(self) -> None:
        """Raises LedgerBroken when an instance stands nowhere or twice."""
        tally = self.tally()
        if not tally.is_conserved:
            raise LedgerBroken(f"{self._path}: {tally}")

    def pending(self) -> list[Pending]:
        """What was begun and not used, in the order of the visits."""
        rows = self._db.execute(
            "SELECT visit, task_id, version, EXISTS (SELECT 1 FROM members m WHERE m.visit = i.visit "
            "AND m.kind = 'attempt' AND m.payload IS NOT NULL) OR state = 'scored', reason IS NOT NULL "
            "FROM instances i WHERE state IN ('queued', 'running', 'scored') ORDER BY visit"
        ).fetchall()
        return [
            Pending(
                visit=visit,
                task_id=task_id,
                version=version if is_kept else None,
                begun_at=version or 0,
                set_aside=bool(is_set_aside),
            )
            for visit, task_id, version, is_kept, is_set_aside in cast(
                "list[tuple[int, str, int | None, int, int]]", rows
            )
        ]

    def issue(self, visit: int, task_id: str, *, version: int) -> int:
        """Begin a visit, or take a queued one up again. Returns the policy version that its age counts from."""
        kept = bool(self.kept(visit))
        with self.writing() as db:
            if visit == self._one("SELECT begun FROM run"):
                db.execute("INSERT INTO instances (visit, task_id, state) VALUES (?, ?, 'queued')", (visit, task_id))
            elif kept:
                version = min(version, self._one("SELECT version FROM instances WHERE visit = ?", visit))
            changed = db.execute(
                "UPDATE instances SET state = 'running', version = ?, issues = issues + 1, is_orphan = is_orphan AND ?, "
                "reason = NULL WHERE visit = ? AND task_id = ? AND state = 'queued'",
                (version, kept, visit, task_id),
            ).rowcount
            _expect(changed, 1, f"visit {visit} of {task_id} to be issued")
        return version

    def reopen(self, visit: int) -> None:
        """The lost members of a scored instance are tried again."""
        with self.writing() as db:
            changed = db.execute(
                "UPDATE instances SET state = 'running' WHERE visit = ? AND state = 'scored'", (visit,)
            )
            _expect(changed.rowcount, 1, f"visit {visit} to run again")

    def kept(self, visit: int) -> dict[int, Attempt]:
        """Attempts of an instance that ended before, by seed. One that cannot be read is left out: it is made again."""
        rows = self._db.execute(
            "SELECT seed, payload FROM members WHERE visit = ? AND kind = 'attempt' AND payload IS NOT NULL", (visit,)
        ).fetchall()
        found: dict[int, Attempt] = {}
        for seed, body in cast("list[tuple[int, bytes]]", rows):
            try:
                found[seed] = unpack_attempt(body)
            except Unreadable:
                continue
        return found

    def keep(self, visit: int, attempt: Attempt) -> None:
        """An attempt has ended: it will not be made again."""
        with self.writing() as db:
            _write_attempt(db, visit, attempt)
        self._written.setdefault(visit, {})[attempt.seed] = attempt

    def note(self, kind: str, text: str, *, visit: int | None = None) -> None:
        """Something happened that is neither an attempt nor a transition."""
        with self.writing() as db:
            write_event(db, kind, text, visit=visit)

    def score(self, group: Group) -> None:
        """All members of a running instance have ended; those not kept yet, or made anew since, are written now."""
        visit = group.visit
        written = self._written.get(visit, {})
        with self.writing() as db:
            db.execute("DELETE FROM members WHERE visit = ? AND kind = 'lost' AND place IS NOT NULL", (visit,))
            for place, attempt in enumerate(group.attempts):
                if written.get(attempt.seed) is not attempt:
                    _write_attempt(db, visit, attempt)
                db.execute(
                    "UPDATE members SET place = ? WHERE visit = ? AND seed = ? AND kind = 'attempt'",
                    (place, visit, attempt.seed),
                )
            db.executemany(
                "INSERT INTO members (visit, kind, seed, place, cost_usd, ended_s, payload) "
                "VALUES (?, 'lost', ?, ?, 0, ?, ?)",
                [(visit, lost.seed, at, time.time(), pack_lost(lost)) for at, lost in enumerate(group.lost)],
            )
            changed = db.execute(
                "UPDATE instances SET state = 'scored', version = ? WHERE visit = ? AND state = 'running'",
                (group.version, visit),
            ).rowcount
            _expect(changed, 1, f"visit {visit} to be scored")
        self._written.pop(visit, None)  # with attempts that the group has no place for

    def restored(self, visit: int, task: Task, *, reopened: bool = False) -> Group | None:
        """The finished group of an instance, None unless it is scored.

        With `reopened` also the group of an instance whose lost members are being tried again, as it was before.

        Raises:
            Unreadable: What was kept is damaged; `forget` lets it be run again.
        """
        rows = cast(
            "list[tuple[str, int]]",
            self._db.execute("SELECT state, version FROM instances WHERE visit = ?", (visit,)).fetchall(),
        )
        state = State(rows[0][0]) if rows else None
        if state is not State.SCORED and not (reopened and state is State.RUNNING):
            return None
        if state is State.RUNNING and not self._members(visit):
            return None
        return self._group(visit, task, version=rows[0][1])

    def late(self, step: int) -> list[Pending]:
        """What a step passed over without waiting for it, when its weights were lost since and it is made again."""
        rows = self._db.execute(
            "SELECT visit, task_id, version FROM instances WHERE step = ? AND reason = ? ORDER BY visit", (step, LATE)
        ).fetchall()
        return [
            Pending(visit=visit, task_id=task_id, version=version)
            for visit, task_id, version in cast("list[tuple[int, str, int | None]]", rows)
        ]

    def left_of(self, late: Pending, task: Task) -> Group:
        """What had ended of it. Raises Unreadable."""
        return self._group(late.visit, task, version=late.version or 0)

    def set_aside(self, visits: Sequence[int], reason: str) -> None:
        """The run ends because these scored instances leave a step nothing; the next start's first step passes them over."""
        with self.writing() as db:
            db.executemany(
                "UPDATE instances SET reason = ? WHERE visit = ? AND state = 'scored'",
                [(reason, visit) for visit in visits],
            )

    def forget(self, visit: int) -> None:
        """Queue a scored instance again and keep nothing of it."""
        with self.writing() as db:
            db.execute("UPDATE members SET payload = NULL, place = NULL WHERE visit = ?", (visit,))
            db.execute("UPDATE instances SET state = 'queued' WHERE visit = ?", (visit,))

    def orphans(self) -> frozenset[int]:
        """Open visits with attempts that were sampled by weights which were lost with their process."""
        rows = self._db.execute(
            "SELECT visit FROM instances WHERE is_orphan AND state IN ('queued', 'running', 'scored')"
        )
        return frozenset(cast("int", row[0]) for row in rows)

    def book_step(self, booked: BookedStep, *, trained: Sequence[int], rejected: Mapping[int, str]) -> None:
        """A step is published: the visits it learned from and those it passed over, with the reason.

        Raises:
            LedgerBroken: One of them was not waiting for a step, or the counts no longer agree; nothing is booked.
        """
        with self.writing() as db:
            for visit in trained:
                _use(db, visit, State.TRAINED, booked.step, None)
            for visit, reason in rejected.items():
                _use(db, visit, State.REJECTED, booked.step, reason)
            db.execute(
                "INSERT INTO steps VALUES (?, ?, ?, ?)",
                (booked.step, time.time(), booked.attempts_bytes, booked.metrics_bytes),
            )
            self.check_conserved()

    def booked(self, step: int) -> BookedStep | None:
        """What `book_step` was told, None for a step that was not booked."""
        row = cast(
            "tuple[int, int] | None",
            self._db.execute("SELECT attempts_bytes, metrics_bytes FROM steps WHERE step = ?", (step,)).fetchone(),
        )
        return None if row is None else BookedStep(step=step, attempts_bytes=row[0], metrics_bytes=row[1])

    def checkpointed(self, step: int, *, oldest: int) -> None:
        """Weights of `step` are on disk; payloads of steps up to `oldest`, the oldest checkpoint kept, are let go."""
        with self.writing() as db:
            db.execute(
                "UPDATE members SET payload = NULL WHERE payload IS NOT NULL AND visit IN "
                "(SELECT visit FROM instances WHERE step <= ?)",
                (oldest,),
            )
            write_event(db, "checkpoint", f"step {step}")

    @property
    def exported(self) -> int:
        """Step whose policy was written as a folder last; 0 for none."""
        return self._one("SELECT exported FROM run")

    def mark_exported(self, step: int) -> None:
        """The policy of this step is written."""
        with self.writing() as db:
            db.execute("UPDATE run SET exported = ?", (step,))

    def sync(self) -> None:
        """Return once all transactions are on the disk, safe from a power cut."""
        with writing_to(self._path):
            self._db.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    def _take_over(self) -> None:
        self.fence.check()
        with writing_to(self._path):
            newest = self._db.execute("UPDATE run SET token = ?1 WHERE token <= ?1", (self.fence.token,)).rowcount
        if newest != 1:
            raise LeaseLost(f"another process has taken over {self._path}; this one has stopped writing")
        counted = cast(
            "list[tuple[str, int]]",
            self._db.execute("SELECT state, count(*) FROM instances GROUP BY state").fetchall(),
        )
        tally = self.tally()
        if {State(state): count for state, count in counted} != {s: n for s, n in tally.counts.items() if n}:
            raise LedgerBroken(f"{self._path}: {tally}, but the rows say {dict(counted)}")
        self.check_conserved()

    def _members(self, visit: int) -> list[tuple[str, bytes]]:
        """Kind and payload of the members that make up its group, the attempts and the lost ones each in their order."""
        rows = self._db.execute(
            "SELECT kind, payload FROM members WHERE visit = ? AND place IS NOT NULL ORDER BY place", (visit,)
        ).fetchall()
        return cast("list[tuple[str, bytes]]", rows)

    def _group(self, visit: int, task: Task, *, version: int) -> Group:
        members = self._members(visit)
        return Group(
            task=task,
            attempts=tuple(unpack_attempt(body) for kind, body in members if kind == "attempt"),
            lost=tuple(unpack_lost(body) for kind, body in members if kind == "lost"),
            version=version,
            visit=visit,
        )

    def _one(self, query: str, *values: int) -> int:
        return cast("tuple[int]", self._db.execute(query, values).fetchone())[0]


def write_event(db: sqlite3.Connection, kind: str, text: str, *, visit: int | None = None) -> None:
    """Add a row to `events`; within a transaction."""
    db.execute("INSERT INTO events (at_s, kind, visit, text) VALUES (?, ?, ?, ?)", (time.time(), kind, visit, text))


def _write_attempt(db: sqlite3.Connection, visit: int, attempt: Attempt) -> None:
    db.execute(
        "INSERT INTO members (visit, kind, seed, reward, cost_usd, ended_s, payload) VALUES (?, 'attempt', ?, ?, ?, ?, ?) "
        "ON CONFLICT (visit, seed) WHERE kind = 'attempt' DO UPDATE SET reward = excluded.reward, "
        "cost_usd = excluded.cost_usd, ended_s = excluded.ended_s, payload = excluded.payload",
        (visit, attempt.seed, attempt.reward.total, cost_usd(attempt), time.time(), pack_attempt(attempt)),
    )


def _use(db: sqlite3.Connection, visit: int, state: State, step: int, reason: str | None) -> None:
    changed = db.execute(
        "UPDATE instances SET state = ?, step = ?, reason = ? WHERE visit = ?", (state, step, reason, visit)
    ).rowcount
    _expect(changed, 1, f"visit {visit} to be {state}")


def _expect(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise LedgerBroken(f"{what}: {found} rows, not {wanted}")
