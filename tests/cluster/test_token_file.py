from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gen_searcher.cluster.session import cluster_session
from gen_searcher.cluster.token_file import guard_token_file
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.errors import UserError


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As Ray writes it in the home of a user with the usual mask."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("0123456789abcdef")
    path.chmod(0o644)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_who_joins_a_cluster_is_the_only_one_who_reads_its_token_also_when_there_is_none_to_join(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(UserError, match="RAY_ADDRESS does not name one"),
        cluster_session(ClusterConfig(address="auto"), run_id="r", command="grpo"),
    ):
        raise AssertionError("joined")
    assert mode(token) == 0o600
    assert token.read_text() == "0123456789abcdef"


def test_a_file_that_somebody_has_named_stays_as_it_is_and_is_warned_of(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "of_the_team"
    shared.write_text("fedcba9876543210")
    shared.chmod(0o640)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(shared))
    with caplog.at_level(logging.WARNING):
        guard_token_file()
    assert (mode(shared), mode(token)) == (0o640, 0o600)
    (warning,) = caplog.messages
    assert f"others can read the token of your Ray cluster in {shared}" in warning


def test_a_narrow_file_and_none_at_all_need_no_word(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token.chmod(0o400)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "missing"))
    guard_token_file()
    assert mode(token) == 0o400
    assert caplog.messages == []
