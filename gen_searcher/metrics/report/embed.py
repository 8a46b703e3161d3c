"""The chosen attempts as JSON for the page's script, their pictures and shared texts beside them, until the page is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from gen_searcher.metrics.report.choose import EntrySet, in_turn
from gen_searcher.metrics.report.highlights import Marked
from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.metrics.report.read import Entry, read_line
from gen_searcher.metrics.report.texts import Texts
from gen_searcher.metrics.report.view import AttemptView, Place, attempt_id, attempt_view

MAX_BYTES = 11_000_000
"""Of attempts and their pictures; with charts and styles the file stays below 12 MB and opens on a phone."""

_VIEW = TypeAdapter(AttemptView)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How many attempts of a set are on the page."""

    name: str
    shown: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What the script gets."""

    attempts: Mapping[str, bytes]
    """JSON of each attempt by its id, in the order of the list."""
    texts: tuple[str, ...]
    pictures: Mapping[str, str]
    shown: tuple[Shown, ...]


def embed(sets: Sequence[EntrySet], *, first: Sequence[Marked], pictures: PictureTable, notes: list[str]) -> Embedded:
    """`first`, then the chosen attempts of all sets in turn; on the page each set keeps its own order."""
    texts, lost = Texts(), _lost_tries(sets)
    views: dict[str, bytes] = {}
    used, unreadable, full = 0, 0, False
    for owner, entry in ((one.owner, one.entry) for one in _order(sets, first)):
        place = Place(
            arm=owner.name,
            is_training=owner.is_training,
            entry=entry,
            run=owner.run,
            why="" if owner.why is None else owner.why.said.get(entry.offset, ""),
            lost_before=lost.get(_try_key(owner, entry), ()) if entry.outcome != "lost" else (),
        )
        if attempt_id(place) in views:
            continue
        line = read_line(entry)
        if line is None:
            unreadable += 1
            continue
        pictures_before, texts_before = len(pictures.urls), len(texts.all)
        view = _VIEW.dump_json(attempt_view(line, place=place, pictures=pictures, texts=texts))
        new_pictures = list(pictures.urls)[pictures_before:]
        size = len(view) + sum(len(pictures.urls[key]) for key in new_pictures)
        size += sum(len(text.encode()) for text in texts.all[texts_before:])
        if used + size > MAX_BYTES:
            full = True
            texts.forget_after(texts_before)
            for key in new_pictures:
                del pictures.urls[key]
            continue
        used += size
        views[attempt_id(place)] = view
    if full:
        notes.append(f"The page is full ({MAX_BYTES // 1_000_000} MB): some chosen attempts are left out.")
    if unreadable:
        notes.append(f"{unreadable} attempts do not follow the format of attempts.jsonl; they are left out.")
    if pictures.missing:
        notes.append(f"{len(pictures.missing)} pictures are not in the run's image store.")
    return _listed(sets, first, views, texts=texts, pictures=pictures)


def _order(sets: Sequence[EntrySet], first: Sequence[Marked]) -> list[Marked]:
    queues = [iter(one.chosen) for one in sets]
    turns = in_turn([one.chosen for one in sets])
    return [*first, *(Marked(owner=sets[index], entry=next(queues[index])) for index in turns)]


def _listed(
    sets: Sequence[EntrySet],
    first: Sequence[Marked],
    views: Mapping[str, bytes],
    *,
    texts: Texts,
    pictures: PictureTable,
) -> Embedded:
    """The views in the order of the page: set by set, what was chosen, then what is only shown for being first."""
    attempts: dict[str, bytes] = {}
    shown: list[Shown] = []
    for one in sets:
        entries = [*one.chosen, *(mark.entry for mark in first if _is_same(mark.owner, one))]
        ids = dict.fromkeys(id_of(one, entry) for entry in entries)
        own = {key: views[key] for key in ids if key in views}
        attempts |= own
        name = f"{one.run}: {one.name}" if one.run else one.name
        shown.append(Shown(name=name, shown=len(own), total=len(one.all)))
    return Embedded(attempts=attempts, texts=tuple(texts.all), pictures=pictures.urls, shown=tuple(shown))


def id_of(owner: EntrySet, entry: Entry) -> str:
    """The id of an attempt on the page, and in the page's address."""
    return attempt_id(Place(arm=owner.name, is_training=owner.is_training, entry=entry, run=owner.run))


def _is_same(one: EntrySet, other: EntrySet) -> bool:
    return (one.run, one.name, one.is_training) == (other.run, other.name, other.is_training)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """Several tries at one member of a group share it."""

    run: str
    arm: str
    step: int
    group: str
    seed: int


def _try_key(owner: EntrySet, entry: Entry) -> _Try:
    return _Try(run=owner.run, arm=owner.name, step=entry.step, group=entry.group, seed=entry.seed)


def _lost_tries(sets: Sequence[EntrySet]) -> dict[_Try, tuple[Entry, ...]]:
    lost: dict[_Try, tuple[Entry, ...]] = {}
    for owner in sets:
        for entry in owner.all:
            if entry.outcome == "lost":
                key = _try_key(owner, entry)
                lost[key] = (*lost.get(key, ()), entry)
    return lost
