"""KnowGen-mini: 300 held-out tasks of the embedded world, frozen, in KnowGen's categories.

    draw_suite() -> rows -> data/knowgen_mini-1.jsonl.gz -> write_suite() -> a task file with its pictures

Balanced over categories, and within each over the difficulties that the world has for it. It is disjoint from all
training tasks, with either set of families: either no pictured subject is ever one in training (`meta.split` is
`entity`), or the template, the wording with its layout and look, never occurs in training (`template`). The first is
taken wherever the world has enough of it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from gen_searcher.errors import DataError
from gen_searcher.types import Facts
from gen_searcher.world.bindings import Binding, bindings
from gen_searcher.world.canvas import compose
from gen_searcher.world.more_families import ALL_FAMILIES, MULTI_HOP, NO_SEARCH
from gen_searcher.world.tasks import (
    Draft,
    Split,
    Template,
    category_of,
    draft,
    is_held_out,
    is_solvable,
    task_row,
    templates,
)
from gen_searcher.world.world import World

NAME = "knowgen-mini"
VERSION = 1
"""Raised, with a new data file, whenever a task changes."""
SIZE = 300
SEED = 630
DATA_FILE = f"knowgen_mini-{VERSION}.jsonl.gz"
SHA256 = "d89ad67dbeceef747cf20d7e243082ea8330bbb2188146503bd471b7033cd1ad"
"""Of the uncompressed data file."""

SCIENCE = (
    *("astronomy", "biology", "chemistry", "physics", "engineering", "medicine", "industry", "architecture"),
    *("history", "geography", "religion", "politics", "culture", "art", "sports"),
)
POP = ("film", "posters")
CATEGORIES = (*SCIENCE, *POP)
DIFFICULTIES = ("easy", "medium", "hard", MULTI_HOP, "multiple subject")
"""What the tasks that need a search are balanced over; on top, each category has a few that need none."""
SIGNS = {"posters": 4}
"""Tasks that need no search, per category; 1 where none is said."""
MOST_SHOWN = 8
"""Tasks that show the same picture."""
TRIES = 400
"""Drafts per task before a cell counts as exhausted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A task of the suite."""

    draft: Draft
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Where the tasks of one category and difficulty come from, one family."""

    templates: tuple[Template, ...]
    bindings: tuple[Binding, ...]
    split: Split


def draw_suite() -> tuple[Chosen, ...]:
    """The suite, made anew from the world; the same every time."""
    pick = random.Random(f"{NAME}:{VERSION}:{SEED}")
    taken: dict[str, Chosen] = {}
    for number, category in enumerate(CATEGORIES):
        quota = SIZE // len(CATEGORIES) + (number < SIZE % len(CATEGORIES))
        signs = [_take(_pools(category, NO_SEARCH), pick, taken) for _ in range(SIGNS.get(category, 1))]
        left = quota - sum(signs)
        cells = {name: pools for name in DIFFICULTIES if (pools := _pools(category, name))}
        while left and cells:
            for name in list(cells)[:left]:
                if _take(cells[name], pick, taken):
                    left -= 1
                else:
                    del cells[name]
        if left:
            raise ValueError(f"the embedded world has too few tasks of the category {category}: {left} are missing")
    by_category: dict[str, list[Chosen]] = {}
    for chosen in taken.values():
        by_category.setdefault(category_of(chosen.draft), []).append(chosen)
    rounds = zip_longest(*by_category.values())  # so that the first tasks of the file are balanced too
    return tuple(chosen for each in rounds for chosen in each if chosen is not None)


def suite_bytes() -> bytes:
    """What the data file holds, made anew: one row of a task file per line, with `meta.hops`."""
    return b"".join(_line(number, chosen) for number, chosen in enumerate(draw_suite(), start=1))


def frozen() -> bytes:
    """The data file's rows as they were frozen.

    Raises:
        DataError: The file is not the one of this version.
    """
    file = resources.files("gen_searcher.world") / "data" / DATA_FILE
    data = gzip.decompress(file.read_bytes())
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise DataError(f"{DATA_FILE}: the rows have the digest {found}, {NAME} {VERSION} has {SHA256}; reinstall")
    return data


def write_suite(folder: Path) -> Path:
    """Write the frozen suite as a task file with its ground-truth pictures, and return the file. Raises DataError."""
    (folder / "gt").mkdir(parents=True, exist_ok=True)
    data = frozen()
    for line in data.splitlines():
        row = _ROW.validate_json(line)
        facts = row.facts
        compose(
            [World.load().picture(subject.entity) for subject in facts.subjects],
            layout=facts.layout,
            style=facts.style,
            caption=facts.caption,
        ).save(folder / row.gt_image, format="PNG")
    target = folder / f"{NAME}-{VERSION}.jsonl"
    target.write_bytes(data)  # last: a file that is there has its pictures
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    gt_image: str
    facts: Facts


_ROW = TypeAdapter(_Row)


def _line(number: int, chosen: Chosen) -> bytes:
    made = chosen.draft
    row = task_row(made, chosen.split, task_id=f"{NAME}-{VERSION}-{number:03d}")
    hops = len(made.family.lookups) + (made.caption_of is not None)
    meta = {**cast("dict[str, str]", row["meta"]), "hops": str(hops)}
    return json.dumps({**row, "meta": meta}, ensure_ascii=False).encode() + b"\n"


def _take(pools: Sequence[_Pool], pick: random.Random, taken: dict[str, Chosen]) -> bool:
    """Take one more task that asks something new, with a new subject if the cell still has one."""
    asked = {_about(chosen.draft) for chosen in taken.values()}
    shown = Counter(entity for chosen in taken.values() for entity in chosen.draft.binding.entities)
    for pool in sorted(pools, key=lambda pool: (pool.split != "entity", pick.random())):
        for _ in range(TRIES):
            binding = pick.choice(pool.bindings)
            if any(shown[entity] >= MOST_SHOWN for entity in binding.entities):
                continue
            made = draft(pick.choice(pool.templates), binding, pick)
            if made is not None and _about(made) not in asked and is_solvable(made):
                taken[made.prompt] = Chosen(draft=made, split=pool.split)
                return True
    return False


def _about(made: Draft) -> tuple[str, ...]:
    """The question without its wording, layout and look."""
    return (made.template.family, *(made.binding.slots[slot] for slot in made.family.given))


@cache
def _family_pools(name: str) -> tuple[_Pool, ...]:
    """New subjects under any template, then known ones under new templates."""
    new, every = templates("template", "all"), (*templates("train", "all"), *templates("template", "all"))
    mine, unseen = (tuple(one for one in some if one.family == name) for some in (every, new))
    fresh = tuple(one for one in bindings(name) if one.entities and all(map(is_held_out, one.entities)))
    known = tuple(one for one in bindings(name) if not any(map(is_held_out, one.entities)))
    pools = (
        _Pool(templates=mine, bindings=fresh, split="entity"),
        _Pool(templates=unseen, bindings=known, split="template"),
    )
    return tuple(pool for pool in pools if pool.templates and pool.bindings)


@cache
def _pools(category: str, difficulty: str) -> tuple[_Pool, ...]:
    """All pools of the cell, each narrowed to its category."""
    names = [
        name
        for name, family in ALL_FAMILIES.items()
        if family.difficulty == difficulty and family.category in ("", category)
    ]
    found: list[_Pool] = []
    for pool in (pool for name in names for pool in _family_pools(name)):
        mine = tuple(one for one in pool.bindings if _category(pool.templates[0], one) == category)
        if mine:
            found.append(replace(pool, bindings=mine))
    return tuple(found)


def _category(template: Template, binding: Binding) -> str:
    return category_of(Draft(template=template, binding=binding, caption_of=None, prompt=""))
