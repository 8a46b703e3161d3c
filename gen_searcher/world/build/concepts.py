"""Pictures of everyday things, with their place in WordNet's taxonomy."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from PIL import Image

from gen_searcher.world.build.rows import Row, webp_of
from gen_searcher.world.build.sources import EMOJI, LABELS, WORDNET, Json, Sources
from gen_searcher.world.build.wordnet import Synset, WordNet
from gen_searcher.world.relations import sentence

FIELDS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "animal-mammal": ("biology", (5,)),
        "animal-bird": ("biology", (5,)),
        "animal-amphibian": ("biology", (5,)),
        "animal-reptile": ("biology", (5,)),
        "animal-marine": ("biology", (5,)),
        "animal-bug": ("biology", (5, 20)),
        "plant-flower": ("biology", (20,)),
        "plant-other": ("biology", (20,)),
        "food-fruit": ("biology", (13, 20)),
        "food-vegetable": ("biology", (13, 20)),
        "food-prepared": ("culture", (13,)),
        "food-asian": ("culture", (13,)),
        "food-sweet": ("culture", (13,)),
        "drink": ("culture", (13,)),
        "dishware": ("culture", (6,)),
        "place-geographic": ("geography", (17, 15)),
        "place-building": ("architecture", (6,)),
        "place-religious": ("religion", (6,)),
        "place-other": ("architecture", (6, 15)),
        "place-map": ("geography", (6, 15, 17)),
        "transport-ground": ("engineering", (6,)),
        "transport-water": ("engineering", (6,)),
        "transport-air": ("engineering", (6,)),
        "hotel": ("architecture", (6,)),
        "sky-weather": ("physics", (17, 19, 6)),
        "event": ("culture", (6, 11, 20)),
        "award-medal": ("sports", (6, 10)),
        "sport": ("sports", (4, 6)),
        "game": ("culture", (6, 4)),
        "arts-crafts": ("art", (6, 4)),
        "clothing": ("culture", (6,)),
        "sound": ("engineering", (6,)),
        "music": ("art", (6, 10)),
        "musical-instrument": ("art", (6,)),
        "phone": ("engineering", (6,)),
        "computer": ("engineering", (6,)),
        "light-video": ("engineering", (6,)),
        "book-paper": ("culture", (6, 10)),
        "money": ("industry", (6, 21)),
        "mail": ("industry", (6, 10)),
        "writing": ("art", (6,)),
        "office": ("industry", (6,)),
        "lock": ("industry", (6,)),
        "tool": ("industry", (6,)),
        "science": ("physics", (6,)),
        "medical": ("medicine", (6,)),
        "household": ("industry", (6,)),
        "other-object": ("history", (6,)),
    }
)
"""Subgroup to KnowGen category and to the WordNet fields in which the word is meant."""
NOT_A_NAME = re.compile(r"person|\bman\b|woman|o’clock|-thirty|[“”:]")  # noqa: RUF001  # the apostrophe of the source


def concept_rows(sources: Sources, wordnet: WordNet) -> list[Row]:
    """One page for each thing that has a picture and a plain name."""
    groups = cast("dict[str, str]", sources.labels.json("package/meta/groups.json")["subgroups"])
    files = {
        name.rpartition("/")[2].removesuffix(".webp").replace("-fe0f", ""): name
        for name in sources.emoji.files
        if name.endswith(".webp")
    }
    rows: list[Row] = []
    for item in cast("list[Json]", sources.labels.json("package/en/data.json")):
        field = FIELDS.get(groups.get(str(item.get("subgroup")), ""))
        file = files.get(item["hexcode"].lower().replace("-fe0f", ""))
        if field and file and not NOT_A_NAME.search(item["label"]):
            rows.append(_row(item, field=field, picture=sources.emoji.read(file), wordnet=wordnet))
    return rows


def _row(item: Json, *, field: tuple[str, tuple[int, ...]], picture: bytes, wordnet: WordNet) -> Row:
    label = cast("str", item["label"])
    title = label[0].upper() + label[1:]
    meaning = next((synset for synset in wordnet.meanings(label) if synset.file in field[1]), None)
    facts: list[str] = []
    pairs: list[tuple[str, str]] = []
    if meaning is not None:
        kind = _kind(meaning, wordnet=wordnet)
        if kind:
            facts.append(sentence("kind", subject=title, value=kind))
            pairs.append(("kind", kind))
        facts.append(f"{title}: {meaning.gloss}.")
    keywords = tuple(str(tag) for tag in item.get("tags", ()) if str(tag) != label)
    facts.append(f"Words for {title}: {', '.join(keywords[:8])}.")
    return Row(
        title=title,
        category=field[0],
        sentences=tuple(facts),
        infobox=tuple(pairs),
        sources=(EMOJI, LABELS, WORDNET) if meaning else (EMOJI, LABELS),
        entity="emoji-" + re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-"),
        kind="concept",
        name=title,
        keywords=keywords,
        picture=webp_of(_draw(picture)),
    )


def _kind(meaning: Synset, *, wordnet: WordNet) -> str:
    if not meaning.above:
        return ""
    return wordnet.synsets[meaning.above[0]].words[0]


def _draw(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)
