"""Groups that the ledger knows of from their first to their last moment: visit -> kept, or run and booked -> Group."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from gen_searcher.errors import TOO_LATE, WorldError
from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.payload import Unreadable
from gen_searcher.ledger.states import NOTHING_TO_TEACH
from gen_searcher.train.attempt import AttemptRunner, GroupRules, GroupRunner, cut_off, member_seeds, run_group
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Group, Task

log = logging.getLogger(__name__)


class BookedGroups:
    """A `StreamRunner`: gives the group that an earlier start of the run has finished, or runs it and books it.

    What a group is sampled from depends on its visit alone, so that a run which was interrupted asks for the same as one
    which was not.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        rules: GroupRules,
        attempt: AttemptRunner,
        whole: GroupRunner | None,
        seed: int,
    ) -> None:
        """With `attempt` every attempt is booked the moment it ends; `whole` runs groups that are booked as one.

        `whole` gets what an earlier start kept of a group as its `earlier`; `attempt` is not asked for it.
        """
        self._ledger = ledger
        self._rules = rules
        self._attempt = attempt
        self._whole = whole
        self._seed = seed

    async def __call__(self, visit: Visit, version: int, earlier: Group | None) -> Group:
        """See `StreamRunner`."""
        finished = None if earlier is not None else self._finished(visit)
        if finished is not None:
            return finished
        if earlier is None:
            version = self._ledger.issue(visit.number, visit.task.id, version=version)
        else:
            self._ledger.reopen(visit.number)
        run = self._whole or self._members(visit)
        seed = self._group_seed(visit)
        if self._whole is not None and earlier is None:
            earlier = self._kept(visit, version)
        made = replace(await run(visit.task, seed=seed, version=version, earlier=earlier), visit=visit.number)
        self._ledger.score(made)
        return made

    def give_up(self, visit: Visit, version: int, earlier: Group | None) -> Group:
        """Book what is left of a group that was cancelled. See `GivesUp`."""
        kept = self._ledger.kept(visit.number)
        seeds = member_seeds(self._group_seed(visit), rules=self._rules)
        cut = [cut_off(visit.task, seed, TOO_LATE) for seed in seeds if seed not in kept]
        group = Group(
            task=visit.task,
            attempts=tuple(kept[seed] for seed in seeds if seed in kept),
            lost=(*(() if earlier is None else earlier.lost), *(lost for one in cut for lost in one.lost)),
            version=version,
            visit=visit.number,
        )
        self._ledger.score(group)
        return group

    def set_aside(self, visits: Sequence[int]) -> None:
        """The run ends because these have nothing to teach. See `SetsAside`."""
        self._ledger.set_aside(visits, NOTHING_TO_TEACH)

    def _members(self, visit: Visit) -> GroupRunner:
        attempt = BookedAttempts(self._ledger, visit=visit.number, attempt=self._attempt)
        return partial(run_group, rules=self._rules, attempt=attempt)

    def _kept(self, visit: Visit, version: int) -> Group | None:
        """What earlier starts of the run kept of a group that is booked as one; None when that is nothing."""
        kept = self._ledger.kept(visit.number)
        seeds = member_seeds(self._group_seed(visit), rules=self._rules)
        attempts = tuple(kept[seed] for seed in seeds if seed in kept)
        return Group(task=visit.task, attempts=attempts, version=version, visit=visit.number) if attempts else None

    def _group_seed(self, visit: Visit) -> int:
        return derive_seed(self._seed, "grpo", 0, visit.task.id, visit.number)

    def _finished(self, visit: Visit) -> Group | None:
        try:
            return self._ledger.restored(visit.number, visit.task)
        except Unreadable as error:
            log.warning("the finished group of visit %d is damaged and is run again: %s", visit.number, error)
            self._ledger.forget(visit.number)
            return None


class BookedAttempts:
    """An `AttemptRunner` whose attempts are on disk the moment they end, and which makes none twice."""

    def __init__(self, ledger: Ledger, *, visit: int, attempt: AttemptRunner) -> None:
        """What earlier starts of the run kept of this visit is read now."""
        self._ledger = ledger
        self._visit = visit
        self._attempt = attempt
        self._kept = ledger.kept(visit)

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        """The kept attempt, or a new one."""
        if seed in self._kept:
            return self._kept[seed]
        try:
            made = await self._attempt(task, seed=seed)
        except WorldError as error:
            self._ledger.note("lost", f"seed {seed}: {error}", visit=self._visit)
            raise
        self._ledger.keep(self._visit, made)
        return made
