"""What a family can be about: words for its slots, read from the infoboxes of the world's pages."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gen_searcher.world.families import FAMILIES, Family, fill
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
    family = FAMILIES[family_name]
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
    if family.lookups:
        yield from _followed(family)
    elif len(family.given) == 2:
        yield from _paired(family.given[0], family.given[1])
    else:
        for title in _titles(family.given[0]):
            yield {family.given[0]: title}


def _titles(slot: str) -> list[str]:
    kind = {"country": "flag", "country2": "flag", "concept2": "concept"}.get(slot, slot)
    world = World.load()
    return [world.pages[entity.page_id].title for entity in world.entities.values() if entity.kind == kind]


def _paired(first: str, second: str) -> Iterator[Slots]:
    ones, others = _titles(first), _titles(second)
    pick = random.Random(f"{first}/{second}")
    for _ in range(PAIRS):
        yield {first: pick.choice(ones), second: pick.choice(others)}


def _followed(family: Family) -> Iterator[Slots]:
    """Start from every page that states the first fact, and follow the lookups."""
    first = family.lookups[0]
    for page in World.load().pages.values():
        value = _stated(page, first.relation)
        if value is None or (family.name in _SOURCES and not page.id.startswith(_SOURCES[family.name])):
            continue
        if first.known == "value" and _owners(first.relation)[value] > 1:
            continue
        known, found = (page.title, value) if first.known == "subject" else (value, page.title)
        slots = {first.of: known, first.slot: found}
        for look in family.lookups[1:]:
            target = World.load().page_titled(slots[look.of])
            follows = _stated(target, look.relation) if target else None
            if follows is None:
                break
            slots[look.slot] = follows
        else:
            yield slots


_SOURCES: Mapping[str, str] = {"film": "film/", "person": "history/"}
"""Families whose relation is stated on pages of other categories too."""


@cache
def _owners(relation: str) -> Counter[str]:
    facts = (_stated(page, relation) for page in World.load().pages.values())
    return Counter(fact for fact in facts if fact is not None)


def _stated(page: WebPage, relation: str) -> str | None:
    if relation == "capital city":
        return value_in(page.sentences[0], relation=relation, subject=page.title)
    return page.fact(relation)
