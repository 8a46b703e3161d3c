from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gen_searcher.cassette.store import INLINE_BYTES, CassetteStore, Damaged, Entry, StoreFull

LARGE = INLINE_BYTES + 1


def entry(key: str, body: bytes) -> Entry:
    return Entry(key=key, kind="search", label=f"label of {key}", body=body)


def opened(path: Path, *, max_bytes: int = 10**7, read_only: bool = False) -> CassetteStore:
    return CassetteStore(path, max_bytes=max_bytes, read_only=read_only)


@pytest.mark.parametrize("body", [b"", b"small", os.urandom(LARGE)])
def test_what_was_put_is_there_after_reopening(tmp_path: Path, body: bytes) -> None:
    store = opened(tmp_path)
    assert store.get("k") is None
    store.put(entry("k", body))
    store.close()
    again = opened(tmp_path)
    assert (again.get("k"), again.count(), again.bytes_used()) == (body, 1, len(body))
    again.close()


def test_a_newer_answer_replaces_the_older_and_is_counted_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put(entry("k", b"12345"))
    store.put(entry("k", b"123"))
    assert (store.get("k"), store.count(), store.bytes_used()) == (b"123", 1, 3)
    store.close()


def test_equal_bodies_share_one_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for key in ("a", "b"):
        store.put(entry(key, b"x" * LARGE))
    assert sum(1 for path in (tmp_path / "objects").rglob("*") if path.is_file()) == 1
    store.close()


def test_a_full_store_takes_nothing_more_and_leaves_no_file(tmp_path: Path) -> None:
    store = opened(tmp_path, max_bytes=LARGE + 10)
    store.put(entry("a", b"x" * LARGE))
    with pytest.raises(StoreFull):
        store.put(entry("b", b"y" * LARGE))
    assert store.get("b") is None
    assert sum(1 for path in (tmp_path / "objects").rglob("*") if path.is_file()) == 1
    store.close()


@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_a_body_that_is_not_what_was_written_is_damaged(tmp_path: Path, harm: str) -> None:
    store = opened(tmp_path)
    store.put(entry("k", b"x" * LARGE))
    path = next(path for path in (tmp_path / "objects").rglob("*") if path.is_file())
    match harm:
        case "cut":
            path.write_bytes(b"x" * 5)
        case "flip":
            path.write_bytes(b"y" + b"x" * (LARGE - 1))
        case _:
            path.unlink()
    with pytest.raises(Damaged):
        store.get("k")
    store.close()


def test_an_index_that_is_no_database_is_set_aside_and_kept(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"this is no database" * 100)
    store = opened(tmp_path)
    store.put(entry("k", b"x"))
    assert store.get("k") == b"x"
    store.close()
    (aside,) = tmp_path.glob("*.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")


def test_an_index_of_another_schema_is_set_aside_and_a_replay_refuses_it(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "index.sqlite")
    db.execute("CREATE TABLE answers (old TEXT)")
    db.commit()
    db.close()
    with pytest.raises(Damaged, match="schema 0, not 1"):
        opened(tmp_path, read_only=True)
    store = opened(tmp_path)
    assert store.count() == 0
    store.close()
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


@pytest.mark.parametrize("before", [None, b"this is no database" * 100], ids=["new", "damaged"])
def test_workers_that_open_a_cassette_together_all_write_into_one(tmp_path: Path, before: bytes | None) -> None:
    workers = 4
    for round_number in range(40):
        path = tmp_path / str(round_number)
        path.mkdir()
        if before is not None:
            (path / "index.sqlite").write_bytes(before)
        together = threading.Barrier(workers)

        def put(worker: int, path: Path = path, together: threading.Barrier = together) -> CassetteStore:
            together.wait()
            store = opened(path)
            store.put(entry(f"k{worker}", b"x"))
            return store

        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(put, worker) for worker in range(workers)]:
                done.result().close()
        store = opened(path)
        assert [store.get(f"k{worker}") for worker in range(workers)] == [b"x"] * workers
        store.close()
        assert len(list(path.glob("*.damaged-*"))) == (0 if before is None else 1)


def test_an_index_is_set_aside_with_its_log_and_loses_nothing(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute("CREATE TABLE answers (old TEXT)")
        old.execute("INSERT INTO answers VALUES ('paid for')")
        store = opened(tmp_path)
        assert store.count() == 0
        store.close()
        (aside,) = (path for path in tmp_path.glob("*.damaged-*") if path.suffix[-4:] not in {"-wal", "-shm"})
        with closing(sqlite3.connect(aside)) as kept:
            assert kept.execute("SELECT old FROM answers").fetchall() == [("paid for",)]


def _write(path: Path, worker: int) -> None:
    store = CassetteStore(path, max_bytes=10**9)
    for number in range(40):
        store.put(entry(f"shared-{number}", f"{worker}".encode() * (LARGE if number % 4 == 0 else 10)))
        store.put(entry(f"own-{worker}-{number}", b"z"))
    store.close()


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(tmp_path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = opened(tmp_path)
    assert store.count() == 40 + 3 * 40
    for number in range(40):
        body = store.get(f"shared-{number}")
        assert body is not None
        assert body in {f"{worker}".encode() * (LARGE if number % 4 == 0 else 10) for worker in range(3)}
    assert store.bytes_used() == 10 * LARGE + 30 * 10 + 120
    assert not list((tmp_path / "objects").rglob("*.part"))
    store.close()
