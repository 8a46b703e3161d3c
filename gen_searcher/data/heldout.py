"""Benchmarks that nobody may train on: files of any published form -> tasks to hold rows against."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from gen_searcher.bench.pictures import NoPicture, PictureFiles
from gen_searcher.bench.rowfile import Line, read_rows, shown
from gen_searcher.data.dedupe import Heldout
from gen_searcher.errors import DataError
from gen_searcher.types import ImageRef, Task

log = logging.getLogger(__name__)

_PROMPTS = ("prompt", "Prompt", "question")
_IDS = ("id", "prompt_id")
_PICTURES = ("gt_image", "gen_image")


def read_heldout(path: Path, pictures: PictureFiles) -> Heldout:
    """Requests and, where they are there, ground truths of a benchmark's file.

    Raises:
        DataError: A row without a request: a benchmark that is read in part is guarded in part.
    """
    file = read_rows(path)
    if file.problems:
        raise DataError(f"held-out file: {file.problems[0]}")
    tasks: list[Task] = []
    lacking = 0
    for line in file.lines:
        prompt = _first(line, _PROMPTS)
        if not prompt.strip():
            raise DataError(f"held-out file {path}, line {line.number}: no request under any of {', '.join(_PROMPTS)}")
        named = next((line.values[key] for key in _IDS if key in line.values), line.number)
        target: ImageRef | None = None
        given = _first(line, _PICTURES)
        if given:
            try:
                target = pictures.put(given, folder=path.parent)
            except NoPicture:
                lacking += 1
        tasks.append(Task(id=shown(named), prompt=prompt, target=target, meta={}))
    if lacking:
        log.warning(
            "%s: %d of %d ground truths cannot be read; those are guarded by their requests alone",
            path,
            lacking,
            len(tasks),
        )
    return Heldout(tasks=tasks, name=path.name)


def _first(line: Line, keys: Sequence[str]) -> str:
    """The first text under one of the keys; empty when there is none."""
    for key in keys:
        value = line.values.get(key)
        if isinstance(value, str):
            return value
    return ""
