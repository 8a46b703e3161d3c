"""What a start of a run does first: bring the books back to the weights that a checkpoint holds.

The checkpoint's step is the truth. The rule, for a checkpoint of step C:

- used by a step up to C: stays.
- used by a later step, whose weights were lost: scored again if its attempts are kept, queued if not. It is trained
  again, once, from the same attempts; synchronous runs get the same weights, bit for bit.
- scored and unused: stays, unless a member was given up as lost. Then it is queued; the members that ended are kept
  and the lost ones get new tries: an outage that ended a run does not end the next start as well. Members that we cut
  off ourselves (`grpo.tail`, `grpo.oversample`) are no reason: the group is what it was meant to be.
- given up whole, because a later step had enough others: stays rejected by that step, which is made again from the groups
  that it had then. What is left of it is no group to learn from in the place of a complete one. Where the step was not
  booked yet it is queued.
- running: queued. The members that had ended are kept, the others are run again with the same seeds.

The steps after C leave `steps`, and `metrics.jsonl` and `attempts.jsonl` are cut to where they ended at C; the metric
lines that go are kept as events. So neither file ever holds two lines for one thing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from gen_searcher.errors import CUT_OFF, TOO_LATE, UserError
from gen_searcher.ledger.book import BookedStep, Ledger, write_event
from gen_searcher.ledger.payload import Unreadable, unpack_lost
from gen_searcher.ledger.states import LATE, State
from gen_searcher.types import Lost

LOST_UP_TO = "steps lost up to"
"""Kind of an event whose text is a step."""
_LOST_UP_TO = f"SELECT coalesce(max(CAST(text AS INTEGER)), 0) FROM events WHERE kind = '{LOST_UP_TO}'"
_RUNNING = "SELECT visit FROM instances WHERE state = 'running'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an earlier start left."""

    step: int
    """Of the checkpoint that the run goes on from; 0: from the beginning."""
    begun: int
    """Visits begun: where the data cursor stands."""
    finished: int
    """Groups that are restored and need not be run."""
    unfinished: int
    """Groups that are run again."""
    kept_attempts: int
    """Attempts of those that had ended and are not made again."""
    lost_steps: tuple[int, ...]
    """Steps whose weights were lost since the last start; they are trained again."""
    made_before: int
    """The last step that was ever made, and lost later; 0 for none. Steps up to it are made again."""
    attempts_bytes: int
    """How much of `attempts.jsonl` stands."""
    metrics_bytes: int
    """How much of `metrics.jsonl` stands."""

    @property
    def is_new(self) -> bool:
        """There was nothing."""
        return self.begun == 0

    def __str__(self) -> str:
        """For the first lines of a run."""
        parts = [
            f"{self.begun} task instances begun so far",
            f"{self.finished} finished groups restored",
            f"{self.unfinished} to be run again ({self.kept_attempts} of their attempts kept)",
        ]
        if self.lost_steps:
            parts.append(
                f"steps {self.lost_steps[0]} to {self.lost_steps[-1]} were after the last checkpoint and are trained again"
            )
        return "; ".join(parts)


def standing(ledger: Ledger, step: int) -> BookedStep:
    """The step's row; for step 0, the beginning.

    Raises:
        UserError: The ledger never booked that step.
    """
    if step == 0:
        return BookedStep(step=0, attempts_bytes=0, metrics_bytes=0)
    booked = ledger.booked(step)
    if booked is None:
        raise UserError(
            f"the checkpoint is of step {step}, but the ledger beside it never booked that step: the run was started by "
            "an older version of gen_searcher, or one of the two was replaced. Start over in another run_dir"
        )
    return booked


def roll_back(ledger: Ledger, step: int, *, cut_metrics: Sequence[str]) -> Found:
    """Bring the books back to the checkpoint of `step`. Doing it twice is doing it once.

    `cut_metrics` are the metric lines beyond that step, which are about to be cut.
    """
    booked = standing(ledger, step)
    with ledger.writing() as db:
        lost = [row[0] for row in cast("list[tuple[int]]", _all(db, "SELECT step FROM steps WHERE step > ?", step))]
        _requeue_given_up(db)
        _unuse(db, step)
        _queue(db, [row[0] for row in cast("list[tuple[int]]", _all(db, _RUNNING))])
        db.execute("UPDATE instances SET is_orphan = 1 WHERE state IN ('queued', 'scored') AND version > ?", (step,))
        db.execute("DELETE FROM steps WHERE step > ?", (step,))
        if lost:
            write_event(db, LOST_UP_TO, str(max(lost)))  # the next start must know it too
        made_before = cast("list[tuple[int]]", _all(db, _LOST_UP_TO))[0][0]
        for line in cut_metrics:
            write_event(db, "cut metric line", line)
        write_event(db, "start", f"from step {step}; steps lost: {lost}")
        ledger.check_conserved()
        kept = cast(
            "list[tuple[int]]",
            _all(
                db,
                "SELECT count(*) FROM members JOIN instances USING (visit) "
                "WHERE state = 'queued' AND kind = 'attempt' AND payload IS NOT NULL",
            ),
        )
    tally = ledger.tally()
    return Found(
        step=step,
        begun=tally.begun,
        finished=tally.counts[State.SCORED],
        unfinished=tally.counts[State.QUEUED],
        kept_attempts=kept[0][0],
        lost_steps=tuple(sorted(lost)),
        made_before=made_before,
        attempts_bytes=booked.attempts_bytes,
        metrics_bytes=booked.metrics_bytes,
    )


def _requeue_given_up(db: sqlite3.Connection) -> None:
    """Of groups that no step has used: a published step has accepted what it used."""
    lost = _lost_members(db)
    _queue(db, sorted({visit for (visit, _), last in lost.items() if _is_reason(last)}))


def _lost_members(db: sqlite3.Connection) -> Mapping[tuple[int, int], Lost]:
    """Visit and seed -> the last lost try of a member that its scored group has no attempt of."""
    rows = cast(
        "list[tuple[int, int, bytes]]",
        _all(
            db,
            "SELECT i.visit, m.seed, m.payload FROM instances i JOIN members m ON m.visit = i.visit "
            "WHERE i.state = 'scored' AND m.kind = 'lost' AND m.place IS NOT NULL AND NOT EXISTS (SELECT 1 FROM members a "
            "WHERE a.visit = i.visit AND a.seed = m.seed AND a.kind = 'attempt' AND a.place IS NOT NULL) "
            "ORDER BY i.visit, m.place",
        ),
    )
    return {(visit, seed): _read(body) for visit, seed, body in rows}


def _read(body: bytes) -> Lost:
    """A try that cannot be read was lost all the same."""
    try:
        return unpack_lost(body)
    except Unreadable as error:
        return Lost(task_id="", seed=0, stage="ledger", error=str(error))


def _is_reason(lost: Lost) -> bool:
    """To try again: the world's doing, or the end of a whole group. Not what a group did without on purpose."""
    return lost.stage != CUT_OFF or lost.error == TOO_LATE


def _unuse(db: sqlite3.Connection, step: int) -> None:
    rows = cast(
        "list[tuple[int, int]]",
        _all(
            db,
            "SELECT visit, NOT EXISTS (SELECT 1 FROM members m WHERE m.visit = i.visit AND m.place IS NOT NULL "
            "AND m.payload IS NULL) FROM instances i WHERE step > ? AND reason IS NOT ?",
            step,
            LATE,
        ),
    )
    db.executemany(
        "UPDATE instances SET state = 'scored' WHERE visit = ?", [(visit,) for visit, is_whole in rows if is_whole]
    )
    _queue(db, [visit for visit, is_whole in rows if not is_whole])
    db.execute("UPDATE instances SET step = NULL, reason = NULL WHERE step > ? AND reason IS NOT ?", (step, LATE))


def _queue(db: sqlite3.Connection, visits: Sequence[int]) -> None:
    """The lost members leave the group, so that they are tried again; their rows stay as a record."""
    db.executemany("UPDATE instances SET state = 'queued' WHERE visit = ?", [(visit,) for visit in visits])
    db.executemany("UPDATE members SET place = NULL WHERE visit = ?", [(visit,) for visit in visits])


def _all(db: sqlite3.Connection, query: str, *values: int | str) -> list[object]:
    return cast("list[object]", db.execute(query, values).fetchall())
