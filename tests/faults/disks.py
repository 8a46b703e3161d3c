"""Real disks that misbehave: small, read-only, stale. All are mounted, so a test that asks for one needs the right to."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@contextmanager
def small_disk(folder: Path, *, kib: int) -> Iterator[Path]:
    """`folder`, made, with a file system of its own of `kib` KiB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "small", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@contextmanager
def stale_disk(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`folder`, made, as a disk whose handles are stale; once the server it comes with is ended, the disk is gone."""
    folder.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.stale_disk", str(folder)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert server.stdout is not None
    assert server.stderr is not None
    if server.stdout.readline() != "ready\n":
        _, why = server.communicate()
        pytest.skip(f"no right to mount a disk of our own here: {why.strip().splitlines()[-1]}")
    try:
        yield server
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        server.kill()
        server.communicate()


def fill(disk: Path, *, leave_kib: int) -> Path:
    """Take what is free but for `leave_kib`; returns the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    size = ballast.stat().st_size
    with ballast.open("r+b") as file:
        file.truncate(max(0, size - 1024 * leave_kib))
    return ballast
