"""Temporary folders of drivers that live, and of drivers that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gen_searcher.cluster.scratch import scratch_folder, sweep

DRIVER = """
import sys, time
from gen_searcher.cluster.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go, here and in child processes."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_for_its_block_and_gone_after_it(parent: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == parent
        (folder / "session").mkdir()
        assert sweep(parent) == [], "its owner lives"
    assert list(parent.iterdir()) == []


@contextmanager
def driver() -> Generator[tuple[subprocess.Popen[str], Path]]:
    """A process that holds a folder until its input ends."""
    command = [sys.executable, "-c", DRIVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


@pytest.mark.fault(5)
def test_the_folder_of_a_killed_driver_is_deleted_and_that_of_a_living_one_stays(parent: Path) -> None:
    with driver() as (killed, its), driver() as (_, stays):
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert its.is_dir()
        assert sweep(parent) == [its]
        assert not its.exists()
        assert stays.is_dir()
    assert list(parent.iterdir()) == []


def test_commands_that_sweep_together_leave_nothing_and_none_of_them_fails(parent: Path) -> None:
    folders = [parent / f"gs-ray-{number:03}" for number in range(200)]
    for folder in folders:
        (folder / "session_1").mkdir(parents=True)
    together = threading.Barrier(3)

    def sweeping() -> None:
        together.wait()
        sweep(parent)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(sweeping) for _ in range(3)]:
            done.result()
    assert list(parent.iterdir()) == []


def test_a_folder_of_the_same_name_that_is_not_ours_stays(parent: Path) -> None:
    other = parent / "gs-ray-mine"
    other.mkdir()
    os.utime(other, (0, 0))
    assert sweep(parent) == []
    assert other.is_dir()


def test_what_servers_of_an_ended_driver_wrote_after_its_folder_was_deleted_goes_too(parent: Path) -> None:
    making, written = parent / "gs-ray-making", parent / "gs-ray-written"
    making.mkdir()
    (written / "session_1").mkdir(parents=True)
    assert sweep(parent) == [written]
    assert list(parent.iterdir()) == [making]
