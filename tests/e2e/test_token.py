"""A token made and given away as conf/cluster/README.md says: who has it submits, and nobody else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.ray_head import ray_head

PAGE = (Path(__file__).parents[2] / "conf" / "cluster" / "README.md").read_text()
SSH = '#!/bin/sh\n[ "$1" = SECOND ] && HOME=$SECOND exec sh -c "$2"\n'
"""A stand-in: the other machine is another home."""


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Path, Path]:
    """Of the first machine and of the second, after the commands of the page."""
    (commands,) = re.findall(r"```bash\n(\(umask 077; ray get-auth-token.*?)```", PAGE, re.DOTALL)
    first, second, stand_ins = (tmp_path / name for name in ("first", "second", "bin"))
    for folder in (first, second, stand_ins):
        folder.mkdir()
    (stand_ins / "ssh").write_text(SSH)
    (stand_ins / "ssh").chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}  # noqa: TID251 - a child's
    path = f"{stand_ins}:{Path(sys.executable).parent}:{inherited['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", f"umask 022\n{commands}"],
        env={**inherited, "PATH": path, "HOME": str(first), "SECOND": str(second)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "a token in a log is everybody's"
    return first, second


def test_both_machines_have_one_token_that_only_its_owner_reads(homes: tuple[Path, Path]) -> None:
    files = [home / ".ray" / "auth_token" for home in homes]
    tokens = {file.read_text() for file in files}
    assert [len(token) for token in tokens] == [64]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    assert [file.parent.stat().st_mode & 0o777 for file in files] == [0o700, 0o700]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_has_the_token_submits_to_a_cluster_that_was_started_with_it_and_nobody_else(
    homes: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = homes
    with (
        # Sockets below Ray's folder have long names: pytest's own temporary folders are too deep for them.
        tempfile.TemporaryDirectory(prefix="gs-head-", ignore_cleanup_errors=True) as folder,
        ray_head(Path(folder), home=first) as head,
    ):
        done = replace(head, environment={**head.environment, "HOME": str(second)}).submit("true", timeout_s=200)
        assert done.returncode == 0, done.stdout + done.stderr
        stranger = replace(head, environment={**head.environment, "RAY_AUTH_TOKEN": "0" * 64})
        refused = stranger.submit("true", timeout_s=100)
    assert refused.returncode != 0
    assert "token is invalid" in refused.stdout + refused.stderr, refused.stdout + refused.stderr
