"""What a log line is about: run, command, step, task, attempt. Set where it is known, read where a line is made.

    with log_fields(step=12):            # everything that is awaited or started in here carries it
        log.info("published")

Fields travel with the context, so lines of attempts that run beside each other keep apart. They do not travel to other
processes: an actor sets its own from what it is called with.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

Value = str | int

NOTHING: Mapping[str, Value] = MappingProxyType({})
NAMES = ("run", "command", "step", "task", "attempt")
"""All there are; a fixed list keeps what is searched for the same everywhere."""
_FIELDS: ContextVar[Mapping[str, Value]] = ContextVar("log_fields", default=NOTHING)


@contextmanager
def log_fields(
    *,
    run: str | None = None,
    command: str | None = None,
    step: int | None = None,
    task: str | None = None,
    attempt: int | None = None,
) -> Generator[None]:
    """Lines made in the block carry these fields; None leaves one as it is. `attempt` is the attempt's seed."""
    given: dict[str, Value | None] = {"run": run, "command": command, "step": step, "task": task, "attempt": attempt}
    before = _FIELDS.set({**_FIELDS.get(), **{name: value for name, value in given.items() if value is not None}})
    try:
        yield
    finally:
        _FIELDS.reset(before)


def current_fields() -> Mapping[str, Value]:
    """The fields of this context."""
    return _FIELDS.get()


class JsonLines(logging.Formatter):
    """One JSON object a line, with the keys that Ray's own JSON lines have, so that driver and workers read alike."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "name": record.name,
            "process": record.process,
            **{name: value for name in NAMES if (value := getattr(record, name, None)) is not None},
        }
        if record.exc_info:
            line["exc_text"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
