"""The ledger's tables and the one way to open them.

    run        one row: schema, token of the lease that opened it last, visits begun (the data cursor), exported step
    instances  visit -> task, state, policy version it started at, step that used it, reason if rejected or set aside, times
               issued, whether it was sampled by weights that no longer exist
    tally      state -> count, kept by triggers in the same transaction
    members    one row per ended member: visit, kind (attempt, lost), seed, place in its group, reward, cost, payload
    steps      published step -> how long the JSONL files were when it was booked
    events     what else happened, in order

A payload lives until no kept checkpoint is older than the step that used it; the row with its reward and cost stays.
SQLite in WAL mode: readers never wait, a killed process leaves a whole ledger. One host at a time may write (the
lease sees to that), because WAL needs shared memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

from gen_searcher.errors import StopRun, UserError
from gen_searcher.ledger.states import TRANSITIONS, State

SCHEMA = 1
BUSY_S = 10.0
"""Longest wait for somebody who reads or backs up the file."""

_TABLES = """
CREATE TABLE run (
    one INTEGER PRIMARY KEY CHECK (one = 1), token INTEGER NOT NULL, begun INTEGER NOT NULL, exported INTEGER NOT NULL
);
INSERT INTO run VALUES (1, 0, 0, 0);
CREATE TABLE legal (before TEXT NOT NULL, after TEXT NOT NULL, PRIMARY KEY (before, after)) WITHOUT ROWID;
CREATE TABLE instances (
    visit INTEGER PRIMARY KEY, task_id TEXT NOT NULL, state TEXT NOT NULL, version INTEGER, step INTEGER, reason TEXT,
    issues INTEGER NOT NULL DEFAULT 0, is_orphan INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX instances_open ON instances (visit) WHERE state IN ('queued', 'running', 'scored');
CREATE INDEX instances_step ON instances (step);
CREATE TABLE tally (state TEXT PRIMARY KEY, count INTEGER NOT NULL CHECK (count >= 0)) WITHOUT ROWID;
CREATE TABLE members (
    id INTEGER PRIMARY KEY, visit INTEGER NOT NULL REFERENCES instances, kind TEXT NOT NULL, seed INTEGER NOT NULL,
    place INTEGER, reward REAL, cost_usd REAL NOT NULL, ended_s REAL NOT NULL, payload BLOB
);
CREATE UNIQUE INDEX members_attempt ON members (visit, seed) WHERE kind = 'attempt';
CREATE INDEX members_visit ON members (visit);
CREATE INDEX members_payload ON members (visit) WHERE payload IS NOT NULL;
CREATE TABLE steps (
    step INTEGER PRIMARY KEY, booked_s REAL NOT NULL, attempts_bytes INTEGER NOT NULL, metrics_bytes INTEGER NOT NULL
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at_s REAL NOT NULL, kind TEXT NOT NULL, visit INTEGER, text TEXT NOT NULL
);
CREATE TRIGGER instance_begins BEFORE INSERT ON instances BEGIN
    SELECT RAISE(ABORT, 'an instance begins queued, with the next visit')
    WHERE NEW.state != 'queued' OR NEW.visit != (SELECT begun FROM run);
END;
CREATE TRIGGER instance_begun AFTER INSERT ON instances BEGIN
    UPDATE run SET begun = begun + 1;
    UPDATE tally SET count = count + 1 WHERE state = NEW.state;
END;
CREATE TRIGGER instance_moves BEFORE UPDATE OF state ON instances BEGIN
    SELECT RAISE(ABORT, 'not a legal transition')
    WHERE NOT EXISTS (SELECT 1 FROM legal WHERE before = OLD.state AND after = NEW.state);
END;
CREATE TRIGGER instance_moved AFTER UPDATE OF state ON instances BEGIN
    UPDATE tally SET count = count - 1 WHERE state = OLD.state;
    UPDATE tally SET count = count + 1 WHERE state = NEW.state;
END;
CREATE TRIGGER instance_stays BEFORE DELETE ON instances BEGIN
    SELECT RAISE(ABORT, 'an instance is never forgotten');
END;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the ledger, or make it.

    Raises:
        StopRun: The disk is full or read-only, or somebody else keeps the file locked.
        UserError: The file is no ledger, or one of another version.
    """
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            _prepare(db, path)
        except (sqlite3.Error, UserError):
            db.close()
            raise
    return db


@contextmanager
def writing_to(path: Path) -> Generator[None]:
    """Say what a failed write means. A constraint that does not hold is a bug and passes as it is."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        raise StopRun(
            f"{path}: {error}. Nothing was half written; free space or make the disk writable, then run the same command again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path} is damaged ({error}): bring it back from a backup, or start over in another run_dir"
        ) from error
    except OSError as error:
        raise StopRun(f"{path}: {error.strerror}. Make the disk writable, then run the same command again") from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    # A killed process loses nothing. After a power cut the last transactions may be missing, as a whole; before a
    # checkpoint counts, `Ledger.sync` brings everything to the disk.
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA foreign_keys=ON")
    with closing(db.execute("PRAGMA user_version")) as version:
        found = int(cast("tuple[int]", version.fetchone())[0])
    if found == SCHEMA:
        return
    with closing(db.execute("SELECT count(*) FROM sqlite_master")) as names:
        is_new = cast("tuple[int]", names.fetchone())[0] == 0
    if not is_new:
        raise UserError(f"{path} is a ledger of another version of gen_searcher ({found}, not {SCHEMA})")
    moves = [(before, after) for before, afters in TRANSITIONS.items() for after in sorted(afters)]
    legal = ", ".join(f"('{before}', '{after}')" for before, after in moves)
    zeros = ", ".join(f"('{state}', 0)" for state in State)
    db.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} INSERT INTO legal VALUES {legal}; INSERT INTO tally VALUES {zeros}; "
        f"PRAGMA user_version={SCHEMA}; COMMIT;"
    )
