"""How a task of the embedded world is solved: which relations to look up, never their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gen_searcher.errors import DataError
from gen_searcher.types import Task
from gen_searcher.world.families import GIVEN, CaptionOf, Lookup
from gen_searcher.world.more_families import ALL_FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to find, in order, and what to make of it."""

    given: Mapping[str, str]
    lookups: tuple[Lookup, ...]
    pictures: tuple[str, ...]
    caption: CaptionOf | None
    layout: str
    style: str
    told_caption: str = ""
    """Caption that the prompt tells, with slots."""


def plan_for(task: Task) -> Plan:
    """The plan of a task of the embedded world.

    Raises:
        DataError: The task comes from elsewhere.
    """
    meta = task.meta
    family = ALL_FAMILIES.get(meta.get("family", ""))
    if family is None:
        raise DataError(
            f"task {task.id}: meta.family is {meta.get('family')!r}; only tasks of the embedded world have plans"
        )
    asked = meta.get("caption_of", "")
    caption = next((one for one in family.captions if f"{one.relation}:{one.of}" == asked), None)
    return Plan(
        given={key.removeprefix(GIVEN): value for key, value in meta.items() if key.startswith(GIVEN)},
        lookups=family.lookups,
        pictures=family.pictures,
        caption=caption,
        layout=meta["layout"],
        style=meta["style"],
        told_caption=family.told_caption,
    )
