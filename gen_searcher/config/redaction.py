"""The edges over which text leaves a process, and no secret with it: values, errors, log lines, crash reports.

a stranger's answer -> cleaned -> tool results, verdicts, the cassette
a stranger's error  -> hiding_secrets -> lost attempts, the ledger, the report
everything else     -> guard_process -> logs, tracebacks, no core dump
"""

from __future__ import annotations

import logging
import resource
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from types import TracebackType
from typing import Any, TypeVar, cast

from gen_searcher.config.secrets import known, redact
from gen_searcher.errors import WorldError
from gen_searcher.metrics.log_fields import current_fields
from gen_searcher.web import writable

T = TypeVar("T")


def cleaned(value: T) -> T:
    """The value with every text in it redacted and `writable`: in dataclasses, lists, tuples and mappings.

    Bytes and pictures pass.
    """
    return cast("T", _cleaned(value, known()))


def _cleaned(value: object, secrets: Sequence[str]) -> object:
    if isinstance(value, str):
        return redact(writable(value), secrets)
    if isinstance(value, list):
        return [_cleaned(one, secrets) for one in cast("list[object]", value)]
    if type(value) is tuple:
        return tuple(_cleaned(one, secrets) for one in cast("tuple[object, ...]", value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {_cleaned(name, secrets): _cleaned(one, secrets) for name, one in pairs.items()}
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: cast("object", getattr(value, field.name)) for field in fields(value) if field.init}
        now = {name: _cleaned(one, secrets) for name, one in held.items()}
        return value if now == held else replace(value, **now)
    return value


@contextmanager
def hiding_secrets(stage: str) -> Generator[None]:
    """What is raised in the block leaves it without secrets; `stage` is where it happened.

    An error keeps its type unless it is of a kind whose text cannot be cleaned: then it becomes a WorldError.
    """
    try:
        yield
    except Exception as error:  # whatever a stranger raises may quote the request
        clean = without_secrets(error, stage=stage)
        if clean is error:
            raise
        raise clean from None


def without_secrets(error: Exception, *, stage: str) -> Exception:
    """The error itself, its texts cleaned and cut off from what it came from when it told; else a WorldError."""
    if not _tells(error):
        return error
    said = redact(str(error))
    error.args = cleaned(cast("tuple[object, ...]", error.args))
    for name, value in list(vars(error).items()):
        if isinstance(value, str | list):  # our own message, and the notes
            setattr(error, name, cleaned(cast("object", value)))
    error.__cause__ = error.__context__ = None
    return WorldError(f"{type(error).__name__}: {said}", stage) if _tells(error) else error


def _tells(error: BaseException) -> bool:
    told = f"{error!r}\n{''.join(traceback.format_exception(error))}"
    return redact(told) != told


class _Record(logging.LogRecord):
    """A log line that tells no secret, whatever handler writes it, and says what it is about."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__.update(current_fields())

    def getMessage(self) -> str:
        """The text; a traceback is made now, so that no formatter makes another one."""
        if self.exc_info and not self.exc_text:
            self.exc_text = redact(logging.Formatter().formatException(self.exc_info))
        return redact(super().getMessage())


def guard_process() -> None:
    """From here on no log line, crash report or core dump of this process tells a secret. Doing it twice is doing it once."""
    logging.setLogRecordFactory(_Record)
    sys.excepthook = _report
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))
