"""The temporary folder of a private Ray cluster, and those that killed drivers have left."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "gs-ray-"
OWNER = "owner.lock"
"""Locked for as long as the driver lives; the system lets go of it however the driver ends."""


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A folder for the length of the block, after deleting those whose drivers are dead."""
    sweep(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name,
        (Path(name) / f"{OWNER}.part").open("wb") as owner,
    ):
        fcntl.flock(owner, fcntl.LOCK_EX)
        Path(owner.name).rename(Path(name) / OWNER)  # seen by others only when it is locked
        yield Path(name)


def sweep(parent: Path) -> list[Path]:
    """Delete our folders in `parent` that no living driver owns; returns them. Those of other users stay."""
    gone: list[Path] = []
    for folder in sorted(parent.glob(f"{PREFIX}*")):
        with suppress(FileNotFoundError):  # another command, or its own driver, has deleted it since we looked
            if _is_left_behind(folder):
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder)
    if gone:
        log.info("deleted %d temporary folders of drivers that were killed", len(gone))
    return gone


def _is_left_behind(folder: Path) -> bool:
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return False
    try:
        with (folder / OWNER).open("rb") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # a living driver's
        return False
    except FileNotFoundError:
        # Ray gets a folder after its lock is there. Sessions without one: a driver has deleted the folder, and servers
        # that it could not end went on writing. Without sessions it is just being made, or somebody else's.
        return any(folder.glob("session_*"))
    return True
