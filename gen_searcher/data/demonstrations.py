"""Demonstrations on disk: one JSON line each, task and trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gen_searcher.errors import DataError
from gen_searcher.types import Sample, Task, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A teacher's trajectory on a task."""

    task: Task
    trajectory: Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSample:
    """A sample to imitate, and where it comes from."""

    label: str
    """File and row, for messages."""
    sample: Sample


_DEMONSTRATION = TypeAdapter(Demonstration)


def write_demonstrations(path: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Write all of them, or nothing: the file appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        for demonstration in demonstrations:
            file.write(_DEMONSTRATION.dump_json(demonstration) + b"\n")
    temporary.replace(path)


def read_demonstrations(path: Path) -> list[Demonstration]:
    """All demonstrations of a file.

    Raises:
        DataError: A line is not a demonstration; names file, line and field.
    """
    found: list[Demonstration] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                found.append(_DEMONSTRATION.validate_json(line))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                field = ".".join(map(str, first["loc"])) or "the line"
                raise DataError(f"{path}, line {number}: {field}: {first['msg']}") from error
    if not found:
        raise DataError(f"{path} holds no demonstration")
    return found
