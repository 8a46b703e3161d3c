"""When attempts ended and steps were booked, read beside a run or after it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Names one attempt of a run."""

    task_id: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """In seconds since 1970."""

    ended_s: Mapping[Ending, float]
    """When the last verdict on an attempt was there; 0 for one that was not kept before its group was whole."""
    booked_s: Mapping[int, float]
    """By step: after its weights were published."""


def read_times(path: Path) -> Times:
    """Of the ledger in `path`. Raises OSError when there is none and sqlite3.Error when it is damaged."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        ends = db.execute(
            "SELECT task_id, seed, ended_s FROM members JOIN instances USING (visit) WHERE kind = 'attempt' ORDER BY id"
        )
        ended_s = {Ending(task_id=task_id, seed=seed): at_s for task_id, seed, at_s in ends}
        booked_s: dict[int, float] = dict(db.execute("SELECT step, booked_s FROM steps").fetchall())
    return Times(ended_s=ended_s, booked_s=booked_s)
