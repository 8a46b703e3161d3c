"""One progress display: a line that rewrites itself on a terminal, a line now and then in a job log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

LOG_EVERY_S = 15.0
"""Seconds between two lines of a job log: often enough to see that it lives, seldom enough to read."""
BAR_CELLS = 24


class Progress:
    """How far a stage is, how long it still takes, and its latest numbers. Use as a context manager."""

    def __init__(self, stage: str, *, total: int, done: int = 0, out: TextIO = sys.stderr) -> None:
        """`done` steps were made by an earlier process."""
        self._stage = stage
        self._total = total
        self._first = done
        self._done = done
        self._values: Mapping[str, float | str] = {}
        self._note = ""
        self._out = out
        self._is_terminal = out.isatty()
        self._started = time.monotonic()
        self._written = -LOG_EVERY_S

    def __enter__(self) -> Progress:
        """Shows the empty bar on a terminal."""
        if self._is_terminal:
            self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the last state on a line of its own."""
        self._show()
        if self._is_terminal:
            self._out.write("\n")
            self._out.flush()

    def advance(self, done: int, values: Mapping[str, float | str]) -> None:
        """`done` of the total are finished; `values` are the numbers and words worth seeing now."""
        self._done, self._values = done, dict(values)
        if self._is_terminal or time.monotonic() - self._written >= LOG_EVERY_S:
            self._show()

    def note(self, text: str) -> None:
        """Something that the watcher should know, shown at once and until the next note; an empty text takes it away."""
        self._note = text
        self._show()

    def line(self, now_s: float) -> str:
        """The display as text, `now_s` seconds after the start."""
        share = self._done / self._total if self._total else 1.0
        made = self._done - self._first
        left = f"{_clock(now_s / made * (self._total - self._done))} left" if made > 0 and share < 1 else ""
        numbers = "  ".join(f"{name} {_short(value)}" for name, value in self._values.items())
        filled = round(BAR_CELLS * share)
        bar = "#" * filled + "." * (BAR_CELLS - filled)
        parts = [f"{self._stage} [{bar}] {self._done}/{self._total}", _clock(now_s), left, numbers, self._note]
        return "  ".join(part for part in parts if part)

    def _show(self) -> None:
        now_s = time.monotonic() - self._started
        text = self.line(now_s)
        self._out.write(f"\r\x1b[2K{text}" if self._is_terminal else f"{text}\n")
        self._out.flush()
        self._written = time.monotonic()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _short(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
