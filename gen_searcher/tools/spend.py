"""What a run directory has committed to spend, on disk before it is spent."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gen_searcher.errors import DataError

_COMMITTED = TypeAdapter(dict[str, float])


class SpendFile:
    """Dollars by provider. A reader never sees half a file."""

    def __init__(self, path: Path) -> None:
        """`path` is made by the first write."""
        self._path = path
        self._written: dict[str, float] = {}

    def read(self) -> dict[str, float]:
        """What earlier starts committed; empty when there were none.

        Raises:
            DataError: The file is damaged; nobody knows then what is left of the budget.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        try:
            return _COMMITTED.validate_json(text)
        except ValidationError as error:
            raise DataError(f'{self._path} is damaged: write what was spent, e.g. {{"serper": 12.5}}') from error

    def write(self, committed_usd: Mapping[str, float]) -> None:
        """Return once it is on the disk; costs nothing when nothing changed."""
        now = {name: usd for name, usd in sorted(committed_usd.items()) if usd > 0.0}
        if now == self._written:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(now))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._written = now
