"""A GGUF file -> its settings, and its tensors as float32. It is plain data: nothing of it is run.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Of its many number formats those are read that
the package of `conf/model/smol_vl.yaml` uses; another one is refused by its number.

Legend: B blocks of a tensor, K values of a block.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from gen_searcher.errors import UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_BYTES = 32
"""Of the tensors, where the file does not say another."""
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
F32, Q4_1, Q8_0 = 0, 3, 8
BLOCK_VALUES = 32

Setting = str | bool | int | float
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a tensor lies."""

    shape: tuple[int, ...]
    """Rows first, as in NumPy."""
    kind: int
    start: int
    """First byte, from the beginning of the file."""


class GgufFile:
    """An opened file; tensors are read when they are asked for."""

    def __init__(
        self,
        *,
        path: Path,
        data: NDArray[np.uint8],
        settings: Mapping[str, Setting | list[Setting]],
        places: Mapping[str, _Place],
    ) -> None:
        """Use `open`."""
        self._path = path
        self._data = data
        self._settings = settings
        self._places = places

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header.

        Raises:
            UserError: It is no GGUF file of a known version, or not a whole one.
        """
        data = np.memmap(path, dtype=np.uint8, mode="r")
        cursor = _Cursor(data, path)
        if cursor.take(4) != MAGIC:
            raise UserError(f"{path} is no GGUF file")
        version = cursor.number("I")
        if version not in VERSIONS:
            raise UserError(f"{path}: GGUF version {version}; known are {VERSIONS}")
        tensors, settings = cursor.number("Q"), cursor.number("Q")
        found = {cursor.string(): cursor.value(cursor.number("I")) for _ in range(settings)}
        heads = [cursor.tensor() for _ in range(tensors)]
        alignment = found.get("general.alignment", ALIGNMENT_BYTES)
        if not isinstance(alignment, int) or alignment < 1:
            raise UserError(f"{path}: general.alignment is {alignment}")
        start = -(-cursor.at // alignment) * alignment
        places = {name: _Place(shape=place.shape, kind=place.kind, start=start + place.start) for name, place in heads}
        return cls(path=path, data=data, settings=found, places=places)

    @property
    def tensor_names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self._places)

    def text(self, name: str) -> str:
        """A setting that is a string. Raises UserError."""
        value = self._settings.get(name)
        if not isinstance(value, str):
            raise self._odd(name, "a string")
        return value

    def whole(self, name: str) -> int:
        """A setting that is a whole number. Raises UserError."""
        value = self._settings.get(name)
        if not isinstance(value, int):
            raise self._odd(name, "a whole number")
        return value

    def real(self, name: str) -> float:
        """A setting that is a number. Raises UserError."""
        value = self._settings.get(name)
        if not isinstance(value, int | float):
            raise self._odd(name, "a number")
        return float(value)

    def texts(self, name: str) -> list[str]:
        """A setting that is a list of strings. Raises UserError."""
        value = self._settings.get(name)
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self._odd(name, "a list of strings")
        return cast("list[str]", value)

    def wholes(self, name: str) -> list[int]:
        """A setting that is a list of whole numbers. Raises UserError."""
        value = self._settings.get(name)
        if not isinstance(value, list) or not all(isinstance(entry, int) for entry in value):
            raise self._odd(name, "a list of whole numbers")
        return cast("list[int]", value)

    def tensor(self, name: str) -> Floats:
        """A tensor in float32, rows first.

        Raises:
            UserError: There is none of that name, its number format is unknown, or the file ends within it.
        """
        place = self._places.get(name)
        if place is None:
            raise UserError(f"{self._path} has no tensor {name}")
        values = int(np.prod(place.shape))
        if place.kind == F32:
            flat = self._bytes(name, place, 4 * values).view("<f4")
        elif place.kind == Q4_1:
            flat = _from_q4_1(self._blocks(name, place, values, block_bytes=20))
        elif place.kind == Q8_0:
            flat = _from_q8_0(self._blocks(name, place, values, block_bytes=34))
        else:
            raise UserError(f"{self._path}: {name} has number format {place.kind}; known are F32, Q4_1 and Q8_0")
        return np.array(flat, dtype=np.float32).reshape(place.shape)

    def _blocks(self, name: str, place: _Place, values: int, *, block_bytes: int) -> NDArray[np.uint8]:
        if place.shape[-1] % BLOCK_VALUES:
            raise UserError(f"{self._path}: a row of {name} is no multiple of {BLOCK_VALUES} values")
        return self._bytes(name, place, values // BLOCK_VALUES * block_bytes).reshape(-1, block_bytes)

    def _bytes(self, name: str, place: _Place, count: int) -> NDArray[np.uint8]:
        found = self._data[place.start : place.start + count]
        if len(found) < count:
            raise UserError(f"{self._path} ends within {name}: not a whole file")
        return np.ascontiguousarray(found)

    def _odd(self, name: str, wanted: str) -> UserError:
        return UserError(f"{self._path}: {name} is not {wanted}")


def _from_q4_1(blocks: NDArray[np.uint8]) -> Floats:
    """[B, 20] bytes -> [B, K]: step, minimum, and 32 numbers of four bits; the low halves come first."""
    step, least = _half(blocks[:, 0:2]), _half(blocks[:, 2:4])
    packed = blocks[:, 4:]
    return np.concatenate([packed & 0x0F, packed >> 4], axis=1).astype(np.float32) * step + least


def _from_q8_0(blocks: NDArray[np.uint8]) -> Floats:
    """[B, 34] bytes -> [B, K]: step, and 32 numbers of eight bits."""
    return np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32) * _half(blocks[:, 0:2])


def _half(pairs: NDArray[np.uint8]) -> Floats:
    """[B, 2] bytes -> [B, 1]."""
    return np.ascontiguousarray(pairs).view("<f2").astype(np.float32)


class _Cursor:
    """Reads the header from front to back; never past the end of the file."""

    def __init__(self, data: NDArray[np.uint8], path: Path) -> None:
        self._data = data
        self._path = path
        self.at = 0

    def take(self, count: int) -> bytes:
        found = self._data[self.at : self.at + count].tobytes()
        if len(found) < count:
            raise UserError(f"{self._path} ends within its header: not a whole GGUF file")
        self.at += count
        return found

    def number(self, code: str) -> int:
        return cast("int", self.scalar(code))

    def scalar(self, code: str) -> Setting:
        (value,) = struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))
        return cast("Setting", value)

    def string(self) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self._path}: a string at byte {self.at} is not UTF-8") from error

    def value(self, kind: int) -> Setting | list[Setting]:
        if kind != ARRAY:
            return self._entry(kind)
        inner, length = self.number("I"), self.number("Q")
        return [self._entry(inner) for _ in range(length)]

    def tensor(self) -> tuple[str, _Place]:
        name = self.string()
        sides = [self.number("Q") for _ in range(self.number("I"))]
        kind, start = self.number("I"), self.number("Q")
        return name, _Place(shape=tuple(reversed(sides)), kind=kind, start=start)

    def _entry(self, kind: int) -> Setting:
        if kind == STRING:
            return self.string()
        if kind not in SCALARS:
            raise UserError(f"{self._path}: a setting of unknown kind {kind} at byte {self.at}")
        return self.scalar(SCALARS[kind])
