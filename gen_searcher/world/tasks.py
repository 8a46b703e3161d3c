"""Makes tasks of the embedded world: prompts that hide their answers, facts to judge by, ground-truth pictures.

    family x binding x wording x layout x style -> row of a task file + PNG

Held out are entities (no training task has one as a subject) and templates (combinations whose parts all occur in
training). Every task has been checked to be solvable through the world's own search.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from PIL import Image

from gen_searcher.world import canvas
from gen_searcher.world.bindings import Binding, bindings, is_told
from gen_searcher.world.families import GIVEN, CaptionOf, Family, fill
from gen_searcher.world.index import page_index, picture_index
from gen_searcher.world.more_families import ALL_FAMILIES, FamilySet, families_of
from gen_searcher.world.relations import picture_query, question, subject_in, value_in
from gen_searcher.world.vocabulary import CARD
from gen_searcher.world.world import World

Split = Literal["train", "entity", "template"]
"""Training, held out because of a subject, held out because of the template."""

HELDOUT_FRAC = 0.15
"""Of entities and of templates."""
SEARCH_HITS = 3
"""A fact counts as findable when it is in the snippets of so many hits."""
CAPTION = re.compile(r"[A-Za-z0-9+.][A-Za-z0-9 '+-]{0,15}[A-Za-z0-9]|[A-Za-z0-9]")
"""Captions that the strip holds in a readable size and that OCR reads back."""

LAYOUT_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        CARD: ("Draw an empty white card{style}.", "Just a blank white card{style}."),
        "alone": ("Draw {a}{style}.", "Show {a} alone{style}.", "Please paint {a}{style}."),
        "beside": ("Draw {a} beside {b}{style}.", "Show {a} next to {b}{style}."),
        "inset": ("Draw {a} with {b} as inset{style}.", "Show {a} with {b} as a small inset{style}."),
    }
)
STYLE_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "plain": ("",),
        "night": (", at night", ", as a night scene"),
        "gray": (", in gray", ", in black and white"),
        "framed": (", in a red frame", ", framed in red"),
    }
)
CAPTION_WORDS = ("Caption: {what}.", "As caption write {what}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A family, one of its wordings, a layout and a style."""

    family: str
    wording: int
    layout: str
    style: str

    @property
    def id(self) -> str:
        """`flag/0/alone/night`."""
        return f"{self.family}/{self.wording}/{self.layout}/{self.style}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A task before it is written."""

    template: Template
    binding: Binding
    caption_of: CaptionOf | None
    """The fact that the caption is; None without a caption, or with one that the prompt tells."""
    prompt: str

    @property
    def family(self) -> Family:
        """The template's family."""
        return ALL_FAMILIES[self.template.family]

    @property
    def caption(self) -> str | None:
        """What the picture must say."""
        if self.family.told_caption:
            return fill(self.family.told_caption, self.binding.slots)
        return _caption_text(self.caption_of, self.binding) if self.caption_of else None


def write_tasks(folder: Path, *, train: int, heldout: int, seed: int, families: FamilySet = "basic") -> None:
    """Write `train.jsonl`, `heldout.jsonl` and their ground-truth pictures; equal arguments give equal files.

    Half of the held-out tasks have a held-out subject, the other half a held-out template.
    """
    (folder / "gt").mkdir(parents=True, exist_ok=True)
    pick = random.Random(f"train:{seed}")
    rows = _drafts(train, split="train", pick=pick, families=families)
    write_rows(folder, "train", [(draft, "train") for draft in rows])
    pick = random.Random(f"heldout:{seed}")
    by_entity = _drafts(heldout - heldout // 2, split="entity", pick=pick, families=families)
    by_template = _drafts(heldout // 2, split="template", pick=pick, families=families)
    write_rows(
        folder,
        "heldout",
        [*((draft, "entity") for draft in by_entity), *((draft, "template") for draft in by_template)],
    )


def training_rows(count: int, *, seed: int, families: FamilySet = "basic") -> list[dict[str, object]]:
    """Rows of training tasks as `write_tasks` writes them, less their pictures; equal arguments give equal rows.

    Raises:
        ValueError: The world has fewer.
    """
    drafts = _drafts(count, split="train", pick=random.Random(f"train:{seed}"), families=families)
    rows = [task_row(draft, "train", task_id=f"{number:05d}") for number, draft in enumerate(drafts, start=1)]
    return [{key: value for key, value in row.items() if key != "gt_image"} for row in rows]


@cache
def templates(split: Split, families: FamilySet = "basic") -> tuple[Template, ...]:
    """Training templates, or the held-out ones; tasks with held-out entities use training templates."""
    found: list[Template] = []
    for family in families_of(families).values():
        for wording in range(len(family.wordings)):
            group = [
                Template(family=family.name, wording=wording, layout=layout, style=style)
                for layout, style in product(family.layouts, family.styles)
            ]
            held = sorted(group, key=lambda template: _share(template.id))[: max(1, round(HELDOUT_FRAC * len(group)))]
            found += [template for template in group if (template in held) == (split == "template")]
    return tuple(found)


def is_held_out(entity_id: str) -> bool:
    """Whether training never has this entity as a subject; look-alikes share their fate."""
    world = World.load()
    return _share(min(entity_id, *world.look_alikes(entity_id), entity_id)) < HELDOUT_FRAC


def _drafts(count: int, *, split: Split, pick: random.Random, families: FamilySet) -> list[Draft]:
    offered = families_of(families)
    pools = {name: [one for one in bindings(name) if _belongs(one, split)] for name in offered}
    choices = {name: [one for one in templates(split, families) if one.family == name] for name in offered}
    names = [name for name in offered if pools[name] and choices[name]]
    found: dict[str, Draft] = {}
    for attempt in range(count * 60):
        if len(found) == count:
            break
        name = names[attempt % len(names)]
        made = draft(pick.choice(choices[name]), pick.choice(pools[name]), pick)
        if made is not None and made.prompt not in found and is_solvable(made):
            found[made.prompt] = made
    if len(found) < count:
        raise ValueError(f"the embedded world has only {len(found)} {split} tasks of the {count} asked for")
    return list(found.values())


def _belongs(binding: Binding, split: Split) -> bool:
    held = any(is_held_out(entity) for entity in binding.entities)
    return held if split == "entity" else not held


def draft(template: Template, binding: Binding, pick: random.Random) -> Draft | None:
    """One task, worded by chance; None when the words do not fit."""
    family = ALL_FAMILIES[template.family]
    if family.told_caption:
        return _told_draft(family, template, binding, pick)
    told = [binding.slots[slot] for slot in family.given]
    texts = [(one, _caption_text(one, binding)) for one in family.captions]
    options = [one for one, text in texts if text is not None and not is_told(text, told)]
    caption = pick.choice(options) if options and pick.random() < 0.75 else None
    phrases = [fill(phrase, binding.slots) for phrase in family.wordings[template.wording]]
    body = pick.choice(LAYOUT_WORDS[template.layout]).format(
        a=phrases[0], b=phrases[-1], style=pick.choice(STYLE_WORDS[template.style])
    )
    asked = pick.choice(caption.phrases) if caption else ""
    tail = " " + pick.choice(CAPTION_WORDS).format(what=fill(asked, binding.slots)) if caption else ""
    return Draft(template=template, binding=binding, caption_of=caption, prompt=body + tail)


def _told_draft(family: Family, template: Template, binding: Binding, pick: random.Random) -> Draft | None:
    if not CAPTION.fullmatch(fill(family.told_caption, binding.slots)):
        return None
    body = pick.choice(LAYOUT_WORDS[template.layout]).format(style=pick.choice(STYLE_WORDS[template.style]))
    words = fill(family.wordings[template.wording][0], binding.slots)
    prompt = f"{body} {pick.choice(CAPTION_WORDS).format(what=words)}"
    return Draft(template=template, binding=binding, caption_of=None, prompt=prompt)


def _caption_text(caption: CaptionOf, binding: Binding) -> str | None:
    page = World.load().page_titled(binding.slots[caption.of])
    pages = [page] if page else []
    value = next((fact for page in pages if (fact := page.fact(caption.relation))), None)
    return value if value and CAPTION.fullmatch(value) else None


def is_solvable(draft: Draft) -> bool:
    """Whether each fact and picture is found by the query that its plan asks."""
    family, slots = draft.family, draft.binding.slots
    asked = [(look.relation, look.known, slots[look.of], slots[look.slot]) for look in family.lookups]
    if draft.caption_of is not None:
        asked.append((draft.caption_of.relation, "subject", slots[draft.caption_of.of], draft.caption or ""))
    titles = [fill(title, slots) for title in family.pictures]
    return all(_finds(*one) for one in asked) and all(_shows(title) for title in titles)


@cache
def _finds(relation: str, known: Literal["subject", "value"], word: str, wanted: str) -> bool:
    index = page_index()
    query = question(relation, known=known, word=word)
    text = "\n".join(index.snippet(page, query) for page in index.find(query, limit=SEARCH_HITS))
    if known == "subject":
        return value_in(text, relation=relation, subject=word) == wanted
    return subject_in(text, relation=relation, value=word) == wanted


@cache
def _shows(title: str) -> bool:
    found = picture_index().find(picture_query(title), limit=4)
    return any(entity.name == title for entity in found)


def _share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / (1 << 48)


def write_rows(folder: Path, name: str, rows: Sequence[tuple[Draft, Split]]) -> None:
    """Write `<name>.jsonl` and the ground-truth pictures beside it."""
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        for number, (draft, split) in enumerate(rows, start=1):
            row = task_row(draft, split, task_id=f"{name}-{number:05d}")
            ground_truth(draft).save(folder / str(row["gt_image"]), format="PNG")
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def ground_truth(draft: Draft) -> Image.Image:
    """The picture that the task asks for."""
    world = World.load()
    pictures = [world.picture(entity) for entity in draft.binding.entities]
    return canvas.compose(pictures, layout=draft.template.layout, style=draft.template.style, caption=draft.caption)


def task_row(draft: Draft, split: Split, *, task_id: str) -> dict[str, object]:
    """A line of a task file; its picture is to be `gt/<task_id>.png`."""
    world = World.load()
    family, template, binding = draft.family, draft.template, draft.binding
    boxes = canvas.slot_boxes(template.layout)
    subjects = [
        {
            "entity": entity,
            "name": world.entities[entity].name,
            "box": list(box),
            "accepted": list(world.look_alikes(entity)),
        }
        for entity, box in zip(binding.entities, boxes, strict=True)
    ]
    meta = {
        "category": category_of(draft),
        "difficulty": family.difficulty,
        "template": template.id,
        "family": family.name,
        "layout": template.layout,
        "style": template.style,
        "caption_of": f"{draft.caption_of.relation}:{draft.caption_of.of}" if draft.caption_of else "",
        "split": split,
    } | {f"{GIVEN}{slot}": binding.slots[slot] for slot in family.given}
    facts = {"subjects": subjects, "layout": template.layout, "style": template.style, "caption": draft.caption}
    return {"id": task_id, "prompt": draft.prompt, "meta": meta, "gt_image": f"gt/{task_id}.png", "facts": facts}


def category_of(draft: Draft) -> str:
    """KnowGen label: the family's, or that of the first thing it is about."""
    if draft.family.category:
        return draft.family.category
    world = World.load()
    if draft.binding.entities:
        return world.entities[draft.binding.entities[0]].category
    page = world.page_titled(draft.binding.slots["word"])
    return page.id.partition("/")[0] if page else ""
