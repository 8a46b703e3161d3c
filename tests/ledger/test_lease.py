"""Who may write a run directory."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from gen_searcher.errors import LeaseHeld, LeaseLost
from gen_searcher.ledger.lease import RunLease

BEAT_S = 0.05
EXPIRY_S = 0.4


def take(folder: Path) -> RunLease:
    return RunLease.acquire(folder, beat_s=BEAT_S, expiry_s=EXPIRY_S)


def holder_of(folder: Path, token: int) -> dict[str, object]:
    return json.loads((folder / f"{token:08d}.json").read_text())


def pretend(folder: Path, token: int, **changes: object) -> None:
    """Make the holder's file look as if somebody else had written it."""
    (folder / f"{token:08d}.json").write_text(json.dumps({**holder_of(folder, token), **changes}))


def hold(folder: Path, ready: threading.Event) -> None:
    """In a process of its own: hold the lease until killed."""
    with take(folder):
        ready.set()
        signal.pause()


class Holding:
    """A process that holds the lease."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        context = multiprocessing.get_context("forkserver")
        ready = context.Event()
        self.process = context.Process(target=hold, args=(folder, ready))
        self.process.start()
        stack.callback(self.end)
        assert ready.wait(60)

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def test_tokens_grow_and_a_released_lease_is_free_at_once(tmp_path: Path) -> None:
    tokens: list[int] = []
    for _ in range(3):
        with take(tmp_path) as lease:
            lease.check()
            tokens.append(lease.token)
    assert tokens == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002.json", "00000003.json"]


@pytest.mark.fault(7)
def test_a_living_holder_is_not_disturbed_and_named(tmp_path: Path) -> None:
    with ExitStack() as stack:
        holding = Holding(tmp_path, stack)
        with pytest.raises(LeaseHeld, match=rf"process {holding.process.pid} on .* \(since 20") as caught:
            take(tmp_path)
        assert caught.value.exit_code == 3
        assert holder_of(tmp_path, 1)["pid"] == holding.process.pid


def test_a_killed_holder_of_this_host_is_followed_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        Holding(tmp_path, stack).end()
        with RunLease.acquire(tmp_path, beat_s=BEAT_S, expiry_s=1e9) as lease:
            assert lease.token == 2


def test_a_hanging_holder_is_followed_after_its_time_and_may_not_write_when_it_wakes(tmp_path: Path) -> None:
    with ExitStack() as stack:
        holding = Holding(tmp_path, stack)
        assert holding.process.pid is not None
        os.kill(holding.process.pid, signal.SIGSTOP)
        with take(tmp_path) as lease:
            assert lease.token == 2


@pytest.mark.fault(7)
def test_the_one_that_was_followed_stops_writing_and_says_who_follows(tmp_path: Path) -> None:
    first = RunLease.acquire(tmp_path, beat_s=1e9, expiry_s=EXPIRY_S)
    second = take(tmp_path)
    with pytest.raises(LeaseLost, match=rf"process {os.getpid()} on .* has taken over"):
        first.check()
    second.check()
    first.release()
    second.check()
    second.release()


@pytest.mark.fault(15)
def test_a_holder_on_another_host_counts_as_gone_only_when_its_beat_stands_still(tmp_path: Path) -> None:
    with take(tmp_path):
        pass
    pretend(tmp_path, 1, is_released=False, host="elsewhere", place="elsewhere 1 2", pid=1)
    with take(tmp_path) as lease:
        assert lease.token == 2
        pretend(tmp_path, 2, host="elsewhere", place="elsewhere 1 2")
        with pytest.raises(LeaseHeld):
            take(tmp_path)


@pytest.mark.fault(15)
def test_clocks_do_not_matter(tmp_path: Path) -> None:
    with take(tmp_path):
        pass
    pretend(tmp_path, 1, is_released=False, place="elsewhere", since="2199-01-01T00:00:00+00:00")
    with take(tmp_path) as lease:
        assert lease.token == 2


@pytest.mark.fault(7)
def test_of_many_that_reach_at_once_one_holds(tmp_path: Path) -> None:
    results: list[RunLease | LeaseHeld] = []
    together = threading.Barrier(8)

    def reach() -> None:
        together.wait()
        try:
            results.append(take(tmp_path))
        except LeaseHeld as error:
            results.append(error)

    threads = [threading.Thread(target=reach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [result for result in results if isinstance(result, RunLease)]
    assert len(held) == 1
    assert len(results) == 8
    held[0].release()
