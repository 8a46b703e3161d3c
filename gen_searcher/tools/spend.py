"""What a run directory has committed to spend, on disk before it is spent, however many commands spend in it.

alone -> news of other commands -> commit -> write
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gen_searcher.errors import DataError

_COMMITTED = TypeAdapter(dict[str, float])


class SpendFile:
    """Dollars by provider. A reader never sees half a file, and no writer overwrites another who is `alone` as well."""

    def __init__(self, path: Path) -> None:
        """`path` is made by the first write."""
        self._path = path
        self._seen: dict[str, float] = {}
        """What the file held when it was last written, or asked for news."""

    @contextmanager
    def alone(self) -> Generator[None]:
        """Nobody else decides and writes in the meantime. Blocks for as long as others do; a dead one does not."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def news(self) -> dict[str, float]:
        """Dollars that others have committed, or given back, since this was last asked or written; at first, all.

        Raises:
            DataError: See `read`.
        """
        before, self._seen = self._seen, self.read()
        changes = {name: self._seen.get(name, 0.0) - before.get(name, 0.0) for name in before | self._seen}
        return {name: usd for name, usd in changes.items() if usd}

    def read(self) -> dict[str, float]:
        """What all starts and commands have committed; empty when there were none.

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
        if now == self._seen:
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
        self._seen = now
