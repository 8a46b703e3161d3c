"""Difficulty-aware order: an epoch's tasks, what the ledger says of them -> the tasks that the epoch visits.

A task whose last groups had nothing to teach (`grpo.select.has_signal`) has nothing to teach just now; it is visited
less often, never never.
The draw is made when the first visit of an epoch is asked for, from what published steps have booked until then, and is
booked itself before anything is run: a run that was interrupted goes on with the same order. The epochs of a synchronous
run are the same whenever and however often it was interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.spread import Spread, book_epoch, booked_epochs, spreads
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class CurriculumRules:
    """How likely a task is visited in an epoch."""

    last_groups: int
    """Groups of a task that count."""
    min_share: float
    """Lowest probability."""
    drops_flat: bool
    """Whether steps pass over groups that have nothing to teach."""

    def share(self, seen: Spread | None) -> float:
        """Probability of a visit: 1 for a task without a group, and `(spread + 1) / (groups + 1)` otherwise.

        As if every task had had one group more, with something to teach: one flat group halves, a second one thirds.
        """
        return 1.0 if seen is None else max(self.min_share, (seen.spread + 1) / (seen.groups + 1))


def left_out(tasks: Sequence[Task], shares: Mapping[str, float], *, seed: int, epoch: int) -> list[str]:
    """Ids of the tasks that the epoch does not visit, each drawn by a coin of its own; not all of them."""
    out = [
        task.id
        for task in tasks
        if random.Random(derive_seed(seed, "curriculum", epoch, task.id)).random() >= shares.get(task.id, 1.0)
    ]
    return out if len(out) < len(tasks) else []


class Curriculum:
    """Thins epochs, see the module."""

    def __init__(self, ledger: Ledger, *, rules: CurriculumRules, seed: int) -> None:
        """What earlier starts of the run have drawn is read now."""
        self._ledger = ledger
        self._rules = rules
        self._seed = seed
        self._drawn = dict(booked_epochs(ledger))

    def __call__(self, epoch: int, order: Sequence[Task]) -> list[Task]:
        """The tasks that the epoch visits, in its order. See `Thins`."""
        out = self._drawn.get(epoch)
        if out is None:
            seen = spreads(self._ledger, last_groups=self._rules.last_groups, drops_flat=self._rules.drops_flat)
            shares = {task_id: self._rules.share(one) for task_id, one in seen.items()}
            drawn = left_out(order, shares, seed=self._seed, epoch=epoch)
            book_epoch(self._ledger, epoch, left_out=drawn)
            out = self._drawn[epoch] = frozenset(drawn)
        return [task for task in order if task.id not in out]
