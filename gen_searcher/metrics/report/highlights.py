"""The attempts of a whole run that a person should see first: the best, the worst, and the tasks that changed most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.metrics.report.choose import EntrySet
from gen_searcher.metrics.report.read import Entry

COUNT = 6
"""Of each kind: one row on a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One attempt and the set that it is from."""

    owner: EntrySet
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The same task, before and after."""

    before: Marked
    after: Marked

    @property
    def difference(self) -> float:
        """Reward after minus reward before."""
        return (self.after.entry.reward or 0.0) - (self.before.entry.reward or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _BeforeAfter:
    before: list[Marked]
    after: list[Marked]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlights:
    """What is shown first; each part may be empty."""

    best: tuple[Marked, ...] = ()
    worst: tuple[Marked, ...] = ()
    changed: tuple[Change, ...] = ()
    what_changed: str = ""
    """Between which two attempts, in words."""

    @property
    def marked(self) -> tuple[Marked, ...]:
        """All of them, the kinds in turn, so that a full page cuts all alike."""
        pairs = [one for change in self.changed for one in (change.before, change.after)]
        return (*self.best, *self.worst, *pairs)


def highlights(sets: Sequence[EntrySet], *, other: Sequence[EntrySet] = ()) -> Highlights:
    """Of the training, or else of the last arm; changes between two runs, or the first and last arm, or two visits."""
    if not sets:
        return Highlights()
    main = next((one for one in sets if one.is_training), sets[-1])
    scored = [entry for entry in main.all if entry.reward is not None]
    best = _one_per_task(sorted(scored, key=lambda entry: (-(entry.reward or 0.0), entry.offset)))
    worst = _one_per_task(sorted(scored, key=lambda entry: (entry.reward or 0.0, -len(entry.tools), -entry.offset)))
    compared = _compared(sets, other)
    return Highlights(
        best=tuple(Marked(owner=main, entry=entry) for entry in best),
        worst=tuple(Marked(owner=main, entry=entry) for entry in worst),
        changed=_changes(compared.before, compared.after, by_arm=bool(other)),
        what_changed=compared.words,
    )


def _one_per_task(entries: Sequence[Entry]) -> list[Entry]:
    by_task: dict[str, Entry] = {}
    for entry in entries:
        by_task.setdefault(entry.task_id, entry)
        if len(by_task) == COUNT:
            break
    return list(by_task.values())


def _compared(sets: Sequence[EntrySet], other: Sequence[EntrySet]) -> _BeforeAfter:
    if other:
        shared = {one.name for one in sets} & {one.name for one in other}
        ours, theirs = ([one for one in both if one.name in shared] for both in (sets, other))
        return _BeforeAfter(before=_all(theirs), after=_all(ours), words="from the other run to this one")
    arms = [one for one in sets if not one.is_training]
    if len(arms) > 1:
        words = f"from {arms[0].name} to {arms[-1].name}"
        return _BeforeAfter(before=_all(arms[:1]), after=_all(arms[-1:]), words=words)
    training = _all([one for one in sets if one.is_training])
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for one in training:
        first[one.entry.task_id] = min(one.entry.step, first.get(one.entry.task_id, one.entry.step))
        last[one.entry.task_id] = max(one.entry.step, last.get(one.entry.task_id, one.entry.step))
    again = [one for one in training if first[one.entry.task_id] < last[one.entry.task_id]]
    early = [one for one in again if one.entry.step == first[one.entry.task_id]]
    late = [one for one in again if one.entry.step == last[one.entry.task_id]]
    return _BeforeAfter(before=early, after=late, words="from a task's first visit to its last")


def _all(sets: Sequence[EntrySet]) -> list[Marked]:
    return [Marked(owner=one, entry=entry) for one in sets for entry in one.all]


def _changes(before: Sequence[Marked], after: Sequence[Marked], *, by_arm: bool) -> tuple[Change, ...]:
    """The largest differences of a task's median attempts, gains and losses alike."""
    earlier, later = _medians(before, by_arm=by_arm), _medians(after, by_arm=by_arm)
    made = [Change(before=earlier[key], after=later[key]) for key in earlier if key in later]
    made = sorted(
        (one for one in made if one.difference), key=lambda one: (-abs(one.difference), one.after.entry.offset)
    )
    by_task: dict[str, Change] = {}
    for one in made:
        by_task.setdefault(one.after.entry.task_id, one)
    return tuple(list(by_task.values())[:COUNT])


def _medians(marked: Sequence[Marked], *, by_arm: bool) -> dict[str, Marked]:
    """The attempt with the median reward of each task, or of each task and arm: a lucky try is not a change."""
    by_task: dict[str, list[Marked]] = {}
    for one in marked:
        if one.entry.reward is not None:
            by_task.setdefault(f"{one.owner.name if by_arm else ''} {one.entry.task_id}", []).append(one)
    found: dict[str, Marked] = {}
    for key, members in by_task.items():
        members.sort(key=lambda one: (one.entry.reward or 0.0, one.entry.offset))
        found[key] = members[(len(members) - 1) // 2]
    return found
