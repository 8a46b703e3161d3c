"""Which attempts go into the page: all of a small run, a fair part of a large one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gen_searcher.metrics.report.read import Entry
from gen_searcher.metrics.report.why import Why

LIMIT = 60
"""Attempts of one benchmark arm, and of the last training steps: what a person may still leaf through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySet:
    """The attempts of one arm, or of the training, and those of them that the page shows."""

    name: str
    is_training: bool
    all: tuple[Entry, ...]
    chosen: tuple[Entry, ...]
    run: str = ""
    """Name of the run on the page; empty when the page shows one run only."""
    why: Why | None = None
    """The analysis of its failures; None without one."""


def spread(items: Sequence[Entry], count: int) -> list[Entry]:
    """`count` items at equal distances, the first among them."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def choose_arm(entries: Sequence[Entry], *, limit: int = LIMIT, always: Collection[int] = ()) -> list[Entry]:
    """A third evenly spaced over the tasks, a third best and a third worst, best first; those at `always` beside them.

    The evenly spaced third is taken first, by task id: arms that ran the same tasks then show the same ones.
    """
    if len(entries) <= limit:
        return _best_first(entries)
    chosen = spread(sorted(entries, key=lambda entry: (entry.task_id, entry.offset)), limit // 3)
    taken = {entry.offset for entry in chosen}
    rest = _best_first([entry for entry in entries if entry.offset not in taken])
    best = (limit - len(chosen) + 1) // 2
    worst = limit - len(chosen) - best
    middle = [entry for entry in rest[best : len(rest) - worst] if entry.offset in always]
    return _best_first([*chosen, *rest[:best], *middle, *rest[len(rest) - worst :]])


def choose_last_steps(entries: Sequence[Entry], *, limit: int = LIMIT) -> list[Entry]:
    """Whole groups, the last step's first; a group larger than the limit is cut."""
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.step, entry.group), []).append(entry)
    chosen: list[Entry] = []
    for _, members in sorted(groups.items(), key=lambda item: -item[0][0]):
        if chosen and len(chosen) + len(members) > limit:
            break
        chosen.extend(members[:limit])
    return chosen


def choose_like(entries: Sequence[Entry], shown: Sequence[Entry], *, limit: int = LIMIT) -> list[Entry]:
    """Attempts at the tasks of `shown`, best first: what lies beside another run's samples."""
    wanted = {entry.task_id for entry in shown}
    same = [entry for entry in entries if entry.task_id in wanted]
    return choose_arm(same, limit=limit)


def in_turn(sets: Sequence[Sequence[Entry]]) -> list[int]:
    """Indexes of sets, one item of each in turn, so that a full page cuts all sets alike."""
    longest = max((len(one) for one in sets), default=0)
    return [index for place in range(longest) for index, one in enumerate(sets) if place < len(one)]


def _best_first(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (-(entry.reward if entry.reward is not None else -1.0), entry.offset))
