"""Answers by key, on disk: an SQLite index (WAL) and content-addressed files. No pickle; several processes may write.

key -> row (kind, label, sha256, size, small bodies) -> body, its digest checked on every read
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from pydantic import TypeAdapter, ValidationError

log = logging.getLogger(__name__)

T = TypeVar("T")

SCHEMA = 1
INLINE_BYTES = 16_384
"""Bodies up to here lie in the index itself: a page of hits takes a few kilobytes."""
BUSY_S = 10.0
"""Longest wait for another writer."""
LABEL_CHARS = 300
_DIGEST = re.compile("[0-9a-f]{64}")
_ROW: TypeAdapter[tuple[str, int, bytes | None]] = TypeAdapter(tuple[str, int, bytes | None])

_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, label TEXT NOT NULL, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, body BLOB, written_s REAL NOT NULL
) WITHOUT ROWID
"""


class Damaged(Exception):
    """An entry, or the whole index, is not what was written."""


class StoreFull(Exception):
    """The size limit is reached; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One answer as it is kept."""

    key: str
    kind: str
    label: str
    """The request, shortened: for people who look into the index."""
    body: bytes


class CassetteStore:
    """A folder. Blocking and thread-safe: call it in a thread."""

    def __init__(self, root: Path, *, max_bytes: int, read_only: bool = False) -> None:
        """Open or make it; an index that cannot be read is set aside, never deleted, and begun anew.

        Raises:
            Damaged: It cannot be read, and `read_only` forbids to begin anew.
        """
        self._root = root
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._index = root / "index.sqlite"
        if read_only:
            self._db = self._open(sqlite3.DatabaseError)
            return
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / "index.lock"):  # whoever waits here finds what the one before has made, and leaves it alone
            try:
                self._db = self._open(sqlite3.OperationalError)
            except sqlite3.DatabaseError:
                _set_aside(self._index)
                self._db = self._open(sqlite3.DatabaseError)

    def get(self, key: str) -> bytes | None:
        """The body, or None. Raises Damaged when it is not what was written."""
        row = self._try(
            lambda db: db.execute("SELECT sha256, size, body FROM answers WHERE key = ?", (key,)).fetchone()
        )
        if row is None:
            return None
        try:
            digest, size, inline = _ROW.validate_python(row, strict=True)
        except ValidationError as error:
            raise Damaged(f"the entry of {key} is none that was written") from error
        if not 0 <= size <= self._max_bytes or _DIGEST.fullmatch(digest) is None:
            raise Damaged(f"the entry of {key} is none that was written")
        if inline is None:
            try:
                with self._file(digest).open("rb") as file:
                    inline = file.read(size + 1)
            except OSError as error:
                raise Damaged(f"the file of {key} cannot be read: {error}") from error
        if hashlib.sha256(inline).hexdigest() != digest:
            raise Damaged(f"the body of {key} has another digest than was written")
        return inline

    def put(self, entry: Entry) -> None:
        """Write it, over an older one; a reader sees one of them whole. Raises StoreFull, Damaged."""
        digest = hashlib.sha256(entry.body).hexdigest()
        is_small = len(entry.body) <= INLINE_BYTES
        if self.bytes_used() + len(entry.body) > self._max_bytes:
            raise StoreFull(f"{self._root} holds {self._max_bytes} bytes")
        if not is_small:
            self._write_file(digest, entry.body)
        row = (
            entry.key,
            entry.kind,
            entry.label[:LABEL_CHARS],
            digest,
            len(entry.body),
            entry.body if is_small else None,
            time.time(),
        )
        self._try(lambda db: db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row))

    def bytes_used(self) -> int:
        """Sum of all bodies."""
        row = self._try(lambda db: db.execute("SELECT total FROM used").fetchone())
        return int(cast("tuple[int]", row)[0])

    def count(self) -> int:
        """Entries."""
        row = self._try(lambda db: db.execute("SELECT count(*) FROM answers").fetchone())
        return int(cast("tuple[int]", row)[0])

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._db.close()

    def _open(self, fatal: type[sqlite3.DatabaseError]) -> sqlite3.Connection:
        """See `_connect`; raises Damaged for what is `fatal`."""
        try:
            return _connect(self._index)
        except fatal as error:
            raise Damaged(f"{self._index} cannot be read: {error}") from error

    def _try(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                return ask(self._db)
            except sqlite3.Error as error:
                raise Damaged(f"{self._index}: {error}") from error

    def _file(self, digest: str) -> Path:
        return self._root / "objects" / digest[:2] / digest

    def _write_file(self, digest: str, body: bytes) -> None:
        path = self._file(digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except OSError:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise Damaged(f"{path} cannot be written: {error}") from error


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    """One process and one thread at a time; the system lets go of it when a process dies."""
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _set_aside(index: Path) -> None:
    """Keep it under another name, its log first: a log that stayed would be taken for the next index's."""
    aside = index.with_suffix(f".damaged-{time.time_ns()}")
    log.exception("%s cannot be read; it is kept as %s and a new one is begun", index, aside.name)
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            Path(f"{index}{suffix}").replace(f"{aside}{suffix}")


def _connect(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.DatabaseError for a file that is no index of this schema."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA trusted_schema=OFF")  # the file may be a stranger's, from a bundle
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("BEGIN IMMEDIATE")  # version and tables of one moment: another process may be making them
        with closing(db.execute("PRAGMA user_version")) as version:
            found = int(cast("tuple[int]", version.fetchone())[0])
        with closing(db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")) as tables:
            names = {cast("str", row[0]) for row in tables.fetchall()}
        if names and found != SCHEMA:
            raise sqlite3.DatabaseError(f"schema {found}, not {SCHEMA}")
        db.execute(_TABLE)
        db.execute("CREATE TABLE IF NOT EXISTS used (total INTEGER NOT NULL)")
        db.execute("INSERT INTO used SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM used)")
        for event, change in (
            ("INSERT", "NEW.size"),
            ("DELETE", "-OLD.size"),
        ):
            db.execute(
                f"CREATE TRIGGER IF NOT EXISTS after_{event.lower()} AFTER {event} ON answers "
                f"BEGIN UPDATE used SET total = total + ({change}); END"
            )
        db.execute("PRAGMA recursive_triggers=ON")  # REPLACE fires the delete trigger only with this
        db.execute(f"PRAGMA user_version={SCHEMA}")
        db.execute("COMMIT")
        db.execute("PRAGMA recursive_triggers=ON")
    except sqlite3.Error:
        db.close()
        raise
    return db
