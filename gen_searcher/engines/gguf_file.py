"""A GGUF file -> its settings, and its tensors as float32. It is plain data: nothing of it is run.

The package `gguf` reads it; it is imported where a file is opened, since only a pretrained policy needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gen_searcher.errors import UserError

READER = "gguf"
"""The package that reads the format, as Python imports it."""

Floats = NDArray[np.float32]
T = TypeVar("T")


class GgufFile:
    """An opened file; tensors are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Read the header; `gguf` must be installed.

        Raises:
            UserError: It is no GGUF file, or not a whole one.
        """
        from gguf import GGUFReader

        self._path = path
        try:
            self._reader = GGUFReader(path)
        except (ValueError, LookupError) as error:  # the package reads on until NumPy finds nothing more
            raise UserError(f"{path} is no whole GGUF file: {error}") from error
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    @property
    def tensor_names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self._tensors)

    def setting(self, name: str, kind: type[T]) -> T:
        """A setting of a kind: `str`, `int`, `float` or `list`.

        Raises:
            UserError: There is none of that name, or it is of another kind.
        """
        field = self._reader.get_field(name)
        value = None if field is None else field.contents()
        if not isinstance(value, kind):
            raise UserError(f"{self._path}: {name} is {value!r:.40}; wanted is {kind.__name__}")
        return value

    def tensor(self, name: str) -> Floats:
        """A tensor in float32, rows first.

        Raises:
            UserError: There is none of that name, or its number format is one that `gguf` cannot undo.
        """
        from gguf import dequantize

        found = self._tensors.get(name)
        if found is None:
            raise UserError(f"{self._path} has no tensor {name}")
        try:
            return np.array(dequantize(found.data, found.tensor_type), dtype=np.float32)
        except NotImplementedError as error:
            raise UserError(f"{self._path}: {name}: {error}") from error
