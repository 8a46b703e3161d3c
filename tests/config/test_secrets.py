from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from gen_searcher.config.base import Config
from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ConfigError


class Holder(Config):
    """A model with a key."""

    key: Secret


def test_a_secret_is_read_from_the_environment_only_when_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret("env:GEN_SEARCHER_TEST_KEY")
    monkeypatch.setenv("GEN_SEARCHER_TEST_KEY", "tick")
    assert secret.reveal() == "tick"
    monkeypatch.setenv("GEN_SEARCHER_TEST_KEY", "tock\n")
    assert secret.reveal() == "tock"


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("tick\n")
    assert Secret(f"file:{tmp_path}/key").reveal() == "tick"


def test_a_missing_secret_names_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEN_SEARCHER_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="variable GEN_SEARCHER_TEST_KEY is not set"):
        Secret("env:GEN_SEARCHER_TEST_KEY").reveal()
    with pytest.raises(ConfigError, match="cannot read the secret file"):
        Secret(f"file:{tmp_path}/none").reveal()
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        Secret(f"file:{tmp_path}/empty").reveal()


def test_a_pasted_key_is_refused_and_not_repeated() -> None:
    for make in (lambda: Secret("sk-12345"), lambda: Holder.model_validate({"key": "sk-12345"})):
        with pytest.raises((ConfigError, ValidationError)) as caught:
            make()
        assert "env:NAME or file:/path" in str(caught.value)
    from gen_searcher.config.explain import explain

    with pytest.raises(ValidationError) as invalid:
        Holder.model_validate({"key": "sk-12345"})
    assert "sk-12345" not in explain(invalid.value, Holder)


def test_dumps_pickles_and_reprs_hold_the_reference_never_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEN_SEARCHER_TEST_KEY", "tick-tock")
    holder = Holder(key=Secret("env:GEN_SEARCHER_TEST_KEY"))
    holder.key.reveal()
    assert holder.model_dump(mode="json") == {"key": "env:GEN_SEARCHER_TEST_KEY"}
    assert "tick-tock" not in repr(holder)
    assert b"tick-tock" not in pickle.dumps(holder)
    assert pickle.loads(pickle.dumps(holder)) == holder
