"""Joining a cluster: only one that was named, and nothing is waited for without end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import ray

from gen_searcher.cluster import session
from gen_searcher.cluster.session import cluster_session
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.errors import UserError

pytestmark = pytest.mark.fault(16)


def join() -> UserError:
    with (
        pytest.raises(UserError, match=r"cluster\.address=auto") as refused,
        cluster_session(ClusterConfig(address="auto"), run_id="r", command="grpo"),
    ):
        raise AssertionError("joined")
    return refused.value


def test_without_an_address_no_cluster_of_the_host_is_joined_whosever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    refused = join()
    assert "set RAY_ADDRESS=HOST:PORT" in str(refused)
    assert refused.exit_code == 3


@pytest.mark.parametrize("address", ["http://head:8265", "ray://head:10001", "head"])
def test_the_address_of_a_dashboard_is_not_the_address_of_a_head(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    refused = join()
    assert f"RAY_ADDRESS={address} cannot be joined: it is not HOST:PORT" in str(refused)
    assert refused.exit_code == 3


def test_a_head_that_does_not_answer_is_waited_for_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEAD_DEADLINE_S", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens on it
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        refused = join()
    assert "nobody answers there" in str(refused)
    assert refused.exit_code == 3


def late(**_: object) -> None:
    raise Exception("The current node timed out during startup.")


def test_a_private_cluster_that_does_not_come_up_in_time_twice_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session.ray, "init", late)
    with (
        pytest.raises(UserError, match="did not come up: The current node timed out during startup") as refused,
        cluster_session(ClusterConfig(address="local"), run_id="r", command="grpo"),
    ):
        raise AssertionError("raised")
    assert "run the same command again later" in str(refused.value)
    assert refused.value.exit_code == 3


def as_started() -> bytes:
    """The environment with which this process began, before any library read it."""
    return Path("/proc/self/environ").read_bytes()


@pytest.mark.slow
def test_a_cluster_that_is_late_once_is_raised_again_and_its_threads_do_not_hold_a_core_while_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = ray.init
    slow: list[subprocess.Popen[bytes]] = []

    def late_once(**how: Any) -> None:
        if slow:
            begin(**how)
            return
        slow.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", how["_temp_dir"]]))
        late()

    monkeypatch.setattr(session.ray, "init", late_once)
    with cluster_session(ClusterConfig(cpus=2, object_store_mib=100), run_id="r", command="grpo"):
        assert slow[0].wait() == -signal.SIGKILL
        began = cast("bytes", ray.get(ray.remote(as_started).remote()))
    assert f"GOMP_SPINCOUNT={session.ENVIRONMENT['GOMP_SPINCOUNT']}".encode() in began.split(b"\0")
