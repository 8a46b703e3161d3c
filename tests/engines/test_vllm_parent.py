"""What becomes of vLLM's processes when the one that started them is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from gen_searcher.engines.vllm_plugin.parent import end_with_parent

OWNER = Path(__file__).with_name("engine_owner.py")
SOON_S = 20.0
"""Far more than the seconds it takes, on a machine with other work."""


def lives(process: psutil.Process) -> bool:
    """A process that ended and that nobody has asked after holds no device."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def still_there(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that live on when all had the time to end."""
    deadline_s = time.monotonic() + SOON_S
    while (left := [process for process in processes if lives(process)]) and time.monotonic() < deadline_s:
        psutil.wait_procs(left, timeout=0.2)
    return left


def child(told: Connection) -> None:
    end_with_parent()
    told.send(os.getpid())
    threading.Event().wait()


def parent(told: Connection) -> None:
    """Starts a child from a thread that ends, and lives on."""
    starter = threading.Thread(target=multiprocessing.get_context("spawn").Process(target=child, args=(told,)).start)
    starter.start()
    starter.join()
    threading.Event().wait()


def test_a_child_outlives_the_thread_that_started_it_and_not_the_process() -> None:
    context = multiprocessing.get_context("spawn")
    hears, tells = context.Pipe(duplex=False)
    owner = context.Process(target=parent, args=(tells,))
    owner.start()
    assert hears.poll(60)
    orphan = psutil.Process(hears.recv())
    assert lives(orphan)
    owner.kill()
    owner.join()
    assert still_there([orphan]) == []


def test_a_process_that_multiprocessing_has_not_started_watches_nobody() -> None:
    assert multiprocessing.parent_process() is None
    before = threading.active_count()
    end_with_parent()
    assert threading.active_count() == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_process_of_an_engine_outlives_the_one_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, str(OWNER), str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert any(line.startswith("sampled") for line in owner.stdout)
        started = psutil.Process(owner.pid).children(recursive=True)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        left = still_there(started)
        for process in left:
            process.kill()
    assert left == []
    assert len(started) >= 2, "the engine and its worker"
