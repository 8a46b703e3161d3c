"""A file of JSON rows from strangers -> the rows that can be read, and what is wrong with the others.

Takes JSON lines and JSON arrays. A row that cannot be read is named with its line and the rest goes on: nothing is
dropped without a `Problem`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from gen_searcher.errors import DataError

_ROW_KEYS = frozenset({"id", "prompt", "prompt_id", "Prompt", "summary_type"})
"""An object without any of these is no row but a part of one."""
_ID = re.compile(r"\w[\w.:+@ -]{0,199}")
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a row is left out."""

    file: str
    line: int
    """Counted from 1; where the row begins, or where it stops being JSON."""
    row: str
    """Its id; empty when it cannot be known."""
    what: str

    def __str__(self) -> str:
        """File, line, row, what."""
        of = f" row {self.row}:" if self.row else ""
        return f"{self.file}, line {self.line}:{of} {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row as it was written."""

    number: int
    """Where it begins, counted from 1."""
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """What a file holds."""

    path: Path
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]

    def problem(self, line: Line, row: object, what: str) -> Problem:
        """A problem of one of its rows."""
        return Problem(file=str(self.path), line=line.number, row=shown(row), what=what)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broken:
    line: int
    what: str


def read_rows(path: Path) -> RowFile:
    """Every object of the file.

    Raises:
        DataError: There is no such file, or not one row of it can be read.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    found = list(_array(text) if text.lstrip()[:1] == "[" else _lines(text))
    lines = tuple(one for one in found if isinstance(one, Line))
    problems = tuple(
        Problem(file=str(path), line=one.line, row="", what=one.what) for one in found if isinstance(one, _Broken)
    )
    if not lines:
        first = f"; {problems[0]}" if problems else ""
        raise DataError(f"{path} holds no row: it must be a JSON array of objects, or one JSON object per line{first}")
    return RowFile(path=path, lines=lines, problems=problems)


def id_problem(row_id: str) -> str | None:
    """What is wrong with an id that stands in tables and may be made a file name; None when it will do."""
    if _ID.fullmatch(row_id) is None or ".." in row_id:
        return (
            f"id: {shown(row_id)!r} is no id: 1 to 200 letters, digits and . : + @ - _ or blanks, the first a letter or "
            "digit, and no '..'"
        )
    return None


def shown(value: object) -> str:
    """A stranger's value, fit for one line of a log."""
    text = value if isinstance(value, str) else json.dumps(value)
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= _SHOWN_CHARS else f"{plain[:_SHOWN_CHARS]}..."


def _lines(text: str) -> Iterator[Line | _Broken]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _row(_DECODER.decode(line), number)
            except (ValueError, RecursionError) as error:
                yield _Broken(line=number, what=f"not JSON: {_why(error)}")


def _array(text: str) -> Iterator[Line | _Broken]:
    where, at = _Where(text), text.index("[") + 1
    while (at := _skip(text, at)) < len(text):
        if text[at] == "]":
            if text[at + 1 :].strip():
                yield _Broken(line=where.line(at + 1), what="there is text after the end of the array; it is not read")
            return
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            stop = error.pos if isinstance(error, json.JSONDecodeError) else at
            yield _Broken(line=where.line(min(stop, len(text) - 1)), what=f"not JSON: {_why(error)}")
            at = _next_row(text, at + 1)
        else:
            yield _row(value, where.line(at))
            at = end
    yield _Broken(line=where.line(len(text)), what="the array has no end; rows may be missing")


def _row(value: object, number: int) -> Line | _Broken:
    if not isinstance(value, dict):
        return _Broken(line=number, what=f"{shown(value)} is not a JSON object")
    values = cast("dict[str, object]", value)
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return _Broken(line=number, what="not UTF-8 text")
    return Line(number=number, values=values)


def _next_row(text: str, at: int) -> int:
    """Where the next whole row begins after a broken one."""
    while (at := text.find("{", at)) >= 0:
        try:
            value, _ = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and _ROW_KEYS & cast("dict[str, object]", value).keys():
            return at
        at += 1
    return len(text)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


class _Where:
    """Positions that only grow -> line numbers."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text, 0, 1

    def line(self, position: int) -> int:
        if position < self._at:
            return self._text.count("\n", 0, position) + 1
        self._line += self._text.count("\n", self._at, position)
        self._at = position
        return self._line


def _why(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def listed(problems: Sequence[Problem], *, most: int) -> list[str]:
    """The first `most` problems as lines, and how many more there are."""
    lines = [str(problem) for problem in problems[:most]]
    return [*lines, f"... and {len(problems) - most} more"] if len(problems) > most else lines
