"""What the books say about tasks: ledger -> task -> how often its last groups had something to teach.

What was drawn from it is booked as well (`book_epoch`), so that a run which goes on draws the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from gen_searcher.ledger.book import Ledger, write_event
from gen_searcher.ledger.states import NOTHING_TO_TEACH, State

SMALLEST_SPREAD = 1e-6
"""Rewards closer than this are equal, see `grpo.select`."""
_EPOCH = "epoch"
"""Kind of the events that hold what was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What the last groups of one task were like."""

    groups: int
    """Those that a published step has trained on or passed over, with at least two scored attempts."""
    spread: int
    """Those of them with something to teach."""


def spreads(ledger: Ledger, *, last_groups: int, drops_flat: bool) -> Mapping[str, Spread]:
    """By task id, of the last so many groups of each; tasks without a group are left out.

    With `drops_flat` steps learn only from groups with something to teach, by rewards that may be less a penalty for
    length, and what a step did with a group is the verdict. Where it gave none, the plain rewards that are booked decide.
    """
    with ledger.writing() as db:
        rows = cast(
            "list[tuple[str, int]]",
            db.execute(
                "SELECT i.task_id, CASE WHEN i.reason = ? THEN 0 WHEN i.state = ? AND ? THEN 1 "
                "ELSE max(m.reward) - min(m.reward) > ? END FROM instances i JOIN members m USING (visit) "
                "WHERE i.step IS NOT NULL AND m.kind = 'attempt' AND m.place IS NOT NULL "
                "GROUP BY i.visit HAVING count(*) > 1 ORDER BY i.visit DESC",
                (NOTHING_TO_TEACH, State.TRAINED, drops_flat, SMALLEST_SPREAD),
            ).fetchall(),
        )
    by_task: dict[str, list[int]] = {}
    for task_id, differs in rows:
        groups = by_task.setdefault(task_id, [])
        if len(groups) < last_groups:
            groups.append(differs)
    return {task_id: Spread(groups=len(groups), spread=sum(groups)) for task_id, groups in by_task.items()}


def book_epoch(ledger: Ledger, epoch: int, *, left_out: Sequence[str]) -> None:
    """The tasks that an epoch leaves out are drawn."""
    with ledger.writing() as db:
        write_event(db, _EPOCH, json.dumps({"epoch": epoch, "left_out": list(left_out)}))


def booked_epochs(ledger: Ledger) -> Mapping[int, frozenset[str]]:
    """Epoch -> the tasks that it leaves out, of all epochs that were drawn."""
    with ledger.writing() as db:
        rows = cast("list[tuple[str]]", db.execute("SELECT text FROM events WHERE kind = ?", (_EPOCH,)).fetchall())
    drawn = [json.loads(text) for (text,) in rows]
    return {int(one["epoch"]): frozenset(map(str, one["left_out"])) for one in drawn}
