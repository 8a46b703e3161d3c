"""A policy is known by all of its weights, and by what earlier versions wrote of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gen_searcher.commands.fingerprints import FORMER_BYTES, fingerprint, is_fingerprint
from gen_searcher.commands.identity import check_identity
from gen_searcher.errors import ConfigError


def policy(folder: Path, *, end: bytes, name: str = "model.safetensors") -> Path:
    """A policy whose weights are zeros as far as earlier versions looked, and `end` after that."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    with (folder / name).open("wb") as file:
        file.seek(FORMER_BYTES)
        file.write(end)
    return folder


def former(folder: Path) -> str:
    """What earlier versions called a policy with one file."""
    file = folder / "model.safetensors"
    weights = file.read_bytes()
    said = (folder / "config.json").read_bytes() + f"model.safetensors:{len(weights)}".encode()
    return hashlib.sha256(said + weights[:FORMER_BYTES]).hexdigest()


def test_policies_that_differ_after_a_long_common_beginning_are_two(tmp_path: Path) -> None:
    sft, grpo = policy(tmp_path / "sft", end=b"frozen, then one"), policy(tmp_path / "grpo", end=b"frozen, then two")
    assert former(sft) == former(grpo)
    assert fingerprint(sft) != fingerprint(grpo)
    assert fingerprint(policy(tmp_path / "copy", end=b"frozen, then one")) == fingerprint(sft)


def test_names_and_sizes_of_the_files_and_the_architecture_count(tmp_path: Path) -> None:
    first = fingerprint(policy(tmp_path / "first", end=b"1"))
    assert fingerprint(policy(tmp_path / "longer", end=b"1\0")) != first
    assert fingerprint(policy(tmp_path / "renamed", end=b"1", name="other.safetensors")) != first
    other = policy(tmp_path / "other", end=b"1")
    (other / "config.json").write_text('{"layers": 2}')
    assert fingerprint(other) != first


def test_a_policy_that_is_written_anew_in_its_place_is_read_again(tmp_path: Path) -> None:
    folder = policy(tmp_path / "policy", end=b"one")
    before = fingerprint(folder)
    part = policy(tmp_path / "part", end=b"two") / "model.safetensors"
    part.replace(folder / "model.safetensors")
    assert fingerprint(folder) != before


def test_small_policies_have_the_fingerprint_that_they_always_had(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    assert fingerprint(tmp_path) == former(tmp_path)


@pytest.mark.fault(41)
def test_a_run_that_an_earlier_version_started_goes_on_with_its_policy_and_with_no_other(tmp_path: Path) -> None:
    start, file = policy(tmp_path / "start", end=b"one"), tmp_path / "identity.json"
    check_identity(file, {"policy": former(start), "seed": "0"}, what="run")
    check_identity(file, {"policy": fingerprint(start), "seed": "0"}, what="run", policy=start)
    assert is_fingerprint(former(start), start)
    with pytest.raises(ConfigError, match="seed: was 0, is 1"):
        check_identity(file, {"policy": fingerprint(start), "seed": "1"}, what="run", policy=start)
    longer = policy(tmp_path / "longer", end=b"one more")
    with pytest.raises(ConfigError, match="policy: was "):
        check_identity(file, {"policy": fingerprint(longer), "seed": "0"}, what="run", policy=longer)


@pytest.mark.fault(41)
def test_what_is_written_now_is_not_taken_for_a_policy_with_the_same_beginning(tmp_path: Path) -> None:
    start, file = policy(tmp_path / "start", end=b"one"), tmp_path / "identity.json"
    check_identity(file, {"policy": fingerprint(start)}, what="run", policy=start)
    other = policy(tmp_path / "other", end=b"two")
    assert former(other) == former(start)
    with pytest.raises(ConfigError, match="policy: was "):
        check_identity(file, {"policy": fingerprint(other)}, what="run", policy=other)
