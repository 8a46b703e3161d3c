"""Published weights as files: tensors -> one safetensors file, written over the pages of an older one when it can be.

In shared memory most of a write is the kernel finding fresh pages. So the board keeps one file that nobody needs any
more, the spare, and the next version is written into its pages and renamed. An engine that still reads it, because it
hung while others went on, holds a lock on it; then a fresh file is made.
"""

# pyright: reportUnknownVariableType=false
# (safetensors is only partly typed)

from __future__ import annotations

import fcntl
import json
import struct
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gen_searcher.errors import DiskTrouble

SHARED_MEMORY = Path("/dev/shm")
"""A file system in memory that every process of a node sees."""
SPARE = "spare.safetensors"
"""Name of the file whose pages may be reused."""
DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
"""As safetensors writes them."""


def write_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write contiguous CPU tensors; the file appears under its name only when it is whole.

    The format is safetensors': the header's length in 8 bytes, a JSON header, the tensors end to end
    (https://huggingface.co/docs/safetensors/index#format).
    """
    partial = path.with_name(path.name + ".part")
    with _pages(path.with_name(SPARE), partial) as file:
        file.write(_header(tensors))
        for tensor in tensors.values():
            # An array is a buffer, which its types only say from Python 3.12 on.
            flat = memoryview(tensor.flatten().view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType]
            while flat:  # the kernel takes at most 2 GiB at a time
                flat = flat[file.write(flat) :]
        file.truncate()
    partial.replace(path)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file as the library does. Raises DiskTrouble when it cannot be written."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:  # of a full disk it keeps only the words
        raise DiskTrouble(
            f"{path}: {error}. What was saved before is whole; free space, then run the same command again"
        ) from error


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Hold the file's pages: until the block ends no writer takes them for another version."""
    if not path.is_relative_to(SHARED_MEMORY):  # elsewhere nothing is ever overwritten
        yield
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def _pages(spare: Path, partial: Path) -> Generator[BinaryIO]:
    """`partial`, made from the spare when there is one that nobody reads."""
    if spare.exists():
        with spare.open("r+b", buffering=0) as file:
            if _is_mine(file):
                spare.replace(partial)
                yield file
                return
    with partial.open("wb", buffering=0) as file:
        yield file


def _is_mine(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        entries[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
