"""The order of tasks: an endless, seeded stream that can start anywhere, and a run's way through it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gen_searcher.errors import DataError
from gen_searcher.ledger.book import Pending
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Task

Thins = Callable[[int, Sequence[Task]], Sequence[Task]]
"""Epoch, its tasks in their order -> those that it visits. Asked again for an epoch it answers the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One place of the data order."""

    number: int
    """From 0, without a gap; what the group is sampled from depends on it and on nothing that happened before."""
    task: Task
    version: int | None = None
    """Policy version at which kept work on it was started; None when there is none."""
    not_before: int = 0
    """Policy version before which it is not started, unless a step has nothing else left to wait for."""
    set_aside: bool = False
    """See `Pending`."""


class Upcoming:
    """The visits one after the other, each when it is due."""

    def __init__(self, visits: Iterator[Visit]) -> None:
        """The visits in their order."""
        self._visits = visits
        self._next: Visit | None = None
        self._hurries = False

    def is_due(self, version: int) -> bool:
        """Whether the next one may start while the policy is at `version`."""
        if self._next is None:
            self._next = next(self._visits)
        return self._hurries or self._next.not_before <= version

    def pop(self) -> Visit:
        """The next one; `is_due` has been asked."""
        found = next(self._visits) if self._next is None else self._next
        self._next, self._hurries = None, False
        return found

    def hurry(self) -> None:
        """The next one may start whatever it is: nothing else is left to wait for."""
        self._hurries = True


def visits(
    tasks: Sequence[Task],
    *,
    seed: int,
    begun: int,
    pending: Sequence[Pending],
    thins: Thins | None = None,
    made_before: int = 0,
) -> Iterator[Visit]:
    """What was begun and not used, in its order, then everything from visit `begun` on.

    `thins` None: every epoch visits every task. Steps up to `made_before` were made before, and are made again from the
    groups that they had: what was begun after one of them is not theirs to take. 0: whoever comes first is taken.

    Raises:
        DataError: A task that was begun is not among `tasks`.
    """
    by_id = {task.id: task for task in tasks}
    for one in pending:
        if one.task_id not in by_id:
            raise DataError(f"the run has begun with task {one.task_id!r}, which is not in the task file any more")
        not_before = min(one.begun_at, made_before)
        yield Visit(
            number=one.visit,
            task=by_id[one.task_id],
            version=one.version,
            not_before=not_before,
            set_aside=one.set_aside,
        )
    for number, task in enumerate(shuffled_forever(tasks, seed=seed, skip=begun, thins=thins), start=begun):
        yield Visit(number=number, task=task, not_before=made_before)


def shuffled_forever(tasks: Sequence[Task], *, seed: int, skip: int = 0, thins: Thins | None = None) -> Iterator[Task]:
    """Every task once per epoch, each epoch in its own order and thinned; `skip` tasks are passed over (resume)."""
    if not tasks:
        raise ValueError("a stream needs at least one task")
    position = 0
    epoch = 0
    while True:
        order = list(tasks)
        random.Random(derive_seed(seed, "tasks", epoch)).shuffle(order)
        for task in order if thins is None else thins(epoch, order):
            if position >= skip:
                yield task
            position += 1
        epoch += 1
