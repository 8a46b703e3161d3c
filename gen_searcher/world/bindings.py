"""What a family can be about: words for its slots, read from the infoboxes of the world's pages."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gen_searcher.world.families import Family, Lookup, fill
from gen_searcher.world.more_families import ALL_FAMILIES
from gen_searcher.world.relations import value_in
from gen_searcher.world.world import WebPage, World

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .'-]{1,27}")
"""Words that prompts may hold."""
PAIRS = 4000
"""How many of the possible pairs of two unrelated subjects are offered."""
NO_SUBJECTS = frozenset({"flag-xx"})
"""Placeholders that are no sensible answer."""

Slots = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Words for all slots of a family, hidden ones included, and the entities its pictures show."""

    slots: Slots
    entities: tuple[str, ...]


@cache
def bindings(family_name: str) -> tuple[Binding, ...]:
    """Everything this family can be about."""
    family = ALL_FAMILIES[family_name]
    entity_ids = {entity.name: entity.id for entity in World.load().entities.values()}
    found: list[Binding] = []
    for slots in _slots(family):
        titles = [fill(title, slots) for title in family.pictures]
        ids = tuple(entity_ids[title] for title in titles if title in entity_ids)
        plain = all(NAME.fullmatch(value) for value in slots.values())
        told = [slots[slot] for slot in family.given]
        hides = not any(is_told(value, told) for slot, value in slots.items() if slot not in family.given)
        if (
            plain
            and hides
            and len(ids) == len(titles)
            and len({_look(entity) for entity in ids}) == len(ids)
            and not NO_SUBJECTS & set(ids)
        ):
            found.append(Binding(slots=slots, entities=ids))
    return tuple(found)


def _look(entity_id: str) -> str:
    """One name for all entities whose pictures look the same."""
    return min(entity_id, *World.load().look_alikes(entity_id), entity_id)


def is_told(value: str, told: Sequence[str]) -> bool:
    """Whether words that a prompt gives away hold the value: `Kuwait City` tells `Kuwait`."""
    return any(re.search(rf"\b{re.escape(value)}\b", words, re.IGNORECASE) for words in told)


def _slots(family: Family) -> Iterator[Slots]:
    if len(family.given) == 2:
        yield from _paired(*(list(_rooted(family, given)) for given in family.given), salt="/".join(family.given))
    else:
        yield from _rooted(family, family.given[0])


def _rooted(family: Family, given: str) -> Iterator[Slots]:
    """Words for a given slot, and for all that is looked up from it."""
    lookups: list[Lookup] = []
    for look in family.lookups:
        if look.of == given or look.of in {one.slot for one in lookups}:
            lookups.append(look)
    if lookups:
        yield from _followed(lookups, pages=_SOURCES.get(family.name, ""))
    else:
        for title in _titles(given):
            yield {given: title}


def _titles(slot: str) -> list[str]:
    kind = {"country": "flag"}.get(slot.rstrip("2"), slot.rstrip("2"))
    world = World.load()
    if kind in _PAGES:
        return [page.title for page in world.pages.values() if page.id.startswith(_PAGES[kind])]
    return [world.pages[entity.page_id].title for entity in world.entities.values() if entity.kind == kind]


def _paired(ones: Sequence[Slots], others: Sequence[Slots], *, salt: str) -> Iterator[Slots]:
    pick = random.Random(salt)
    for _ in range(PAIRS):
        yield {**pick.choice(ones), **pick.choice(others)}


def _followed(lookups: Sequence[Lookup], *, pages: str) -> Iterator[Slots]:
    """Start from every page below `pages` that states the first fact, and follow the lookups."""
    first = lookups[0]
    for page in World.load().pages.values():
        value = _stated(page, first.relation)
        if value is None or not page.id.startswith(pages):
            continue
        if first.known == "value" and len(_owners(first.relation)[value]) > 1:
            continue
        known, found = (page.title, value) if first.known == "subject" else (value, page.title)
        slots = {first.of: known, first.slot: found}
        for look in lookups[1:]:
            follows = _other_end(look, slots[look.of])
            if follows is None:
                break
            slots[look.slot] = follows
        else:
            yield slots


def _other_end(look: Lookup, known: str) -> str | None:
    """What a lookup finds; None for nothing, or for more than one subject."""
    if look.known == "value":
        owners = _owners(look.relation).get(known, ())
        return owners[0] if len(owners) == 1 else None
    target = World.load().page_titled(known)
    return _stated(target, look.relation) if target else None


_PAGES: Mapping[str, str] = {"word": "", "film": "film/"}
"""Slots that are filled with titles of pages, and where those lie."""
_SOURCES: Mapping[str, str] = {
    **dict.fromkeys(("film", "film-namesake", "poster", "two-films", "poster-thing"), "film/"),
    **dict.fromkeys(("person", "person-namesake"), "history/"),
}
"""Families whose relation is stated on pages of other categories too."""


@cache
def _owners(relation: str) -> Mapping[str, Sequence[str]]:
    """Titles of the pages that state each value."""
    owners: dict[str, list[str]] = {}
    for page in World.load().pages.values():
        fact = _stated(page, relation)
        if fact is not None:
            owners.setdefault(fact, []).append(page.title)
    return owners


def _stated(page: WebPage, relation: str) -> str | None:
    if relation == "capital city":
        return value_in(page.sentences[0], relation=relation, subject=page.title)
    return page.fact(relation)
