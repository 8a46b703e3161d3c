"""A doctor's look at a cluster ends in time, whatever listens where the head should be."""

from __future__ import annotations

import socket
import time

import pytest

from gen_searcher.cluster import look
from gen_searcher.config.cluster import ClusterConfig

AUTO = ClusterConfig(address="auto")


def test_a_port_where_something_else_listens_is_given_up_in_time_with_the_port_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        begun = time.monotonic()
        seen = look.look(AUTO, command="grpo", deadline_s=2.0)
    assert time.monotonic() - begun < 10
    assert seen.totals is None
    assert seen.problem is not None
    assert f"the Ray cluster at RAY_ADDRESS={address} did not let this process join within 2 s" in seen.problem
    assert "set RAY_ADDRESS to the head's own port" in seen.problem
    assert "not to the one of its dashboard (8265)" in seen.problem


def test_the_roles_of_a_look_ask_for_nothing() -> None:
    assert all(vars(look.BARE)[role].is_nothing for role in type(look.BARE).model_fields)
