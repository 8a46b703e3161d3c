"""Which policy a folder holds: its architecture and every byte of its weights -> one digest.

The whole of each file counts. A training that moves only a part of the weights (adapters, a frozen tower) leaves long
stretches of them as they were, and the beginnings of two such policies are the same.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FORMER_BYTES = 64 << 20
"""Of each weight file that earlier versions looked at, beside its size."""
BLOCK_BYTES = 4 << 20
"""Read at once: large enough that other threads run while a block is hashed, small beside any memory."""
REMEMBERED = 16
"""Digests of folders that are kept; a command meets three policies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileState:
    """What changes when a file is written or another one takes its name."""

    path: Path
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> _FileState:
        found = path.stat()
        return cls(
            path=path,
            device=found.st_dev,
            inode=found.st_ino,
            size=found.st_size,
            modified_ns=found.st_mtime_ns,
            changed_ns=found.st_ctime_ns,
        )


def fingerprint(policy: Path) -> str:
    """A digest of a policy folder: its architecture and its weights, all of them.

    It reads every byte, once per process while the files stay as they are: seconds for gigabytes, so an event loop asks
    in a thread.
    """
    return _digest(_states(policy), None)


def is_fingerprint(written: str, policy: Path) -> bool:
    """Whether `written` is this policy's fingerprint, as it is made now or as earlier versions made it.

    Those read the first 64 MiB of each file. What they wrote tells as much as it did then, so that a run goes on; for
    files that are no longer both are the same.
    """
    return written == fingerprint(policy) or written == _digest(_states(policy), FORMER_BYTES)


def _states(policy: Path) -> tuple[_FileState, ...]:
    """Of the architecture, then of the weight files by name."""
    return tuple(_FileState.of(path) for path in (policy / "config.json", *sorted(policy.glob("*.safetensors"))))


@functools.lru_cache(REMEMBERED)
def _digest(files: Sequence[_FileState], most_bytes: int | None) -> str:
    architecture, *weights = files
    digest = hashlib.sha256(architecture.path.read_bytes())
    block = memoryview(bytearray(BLOCK_BYTES))
    for each in weights:
        digest.update(f"{each.path.name}:{each.size}".encode())
        left = each.size if most_bytes is None else min(each.size, most_bytes)
        with each.path.open("rb", buffering=0) as file:
            while left and (count := file.readinto(block[:left])):
                digest.update(block[:count])
                left -= count
    return digest.hexdigest()
