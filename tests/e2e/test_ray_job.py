"""The same command under `ray job submit`, on a cluster of the tests' own with token auth on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ray_head import Head, ray_head

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    # Sockets below Ray's folder have long names: pytest's own temporary folders are too deep for them.
    with (
        tempfile.TemporaryDirectory(prefix="gs-head-", ignore_cleanup_errors=True) as folder,
        ray_head(Path(folder)) as head,
    ):
        yield head


def test_a_submitted_run_writes_to_its_absolute_run_directory_and_succeeds(head: Head, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = head.submit("gen-searcher", "sft", "experiment=smoke", "cluster=auto", f"run_dir={run_dir}", timeout_s=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert (run_dir / "sft" / "policy" / "model.safetensors").is_file()


def test_a_submitted_run_that_cannot_start_fails_truthfully(head: Head) -> None:
    done = head.submit("gen-searcher", "sft", "experiment=smoke", "cluster=auto", "run_dir=relative/run", timeout_s=120)
    assert done.returncode == 1, "ray job submit has one code for all failures"
    assert "run_dir" in done.stdout + done.stderr
