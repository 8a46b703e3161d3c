"""Tiles and facts of the chemical elements."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont

from gen_searcher.world.build.rows import Row, webp_of
from gen_searcher.world.build.sources import ELEMENTS, Sources
from gen_searcher.world.relations import sentence

COUNTRIES: Mapping[str, str] = MappingProxyType({"United States": "United States of America"})
"""Names of the source that differ from the names of the flags."""
NAMESAKES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "Po": ("Poland", "Poland"),
        "Ge": ("Germany", "Germany"),
        "Ga": ("France", "France"),
        "Fr": ("France", "France"),
        "Ru": ("Russia", "Russia"),
        "Nh": ("Japan", "Japan"),
        "Cu": ("Cyprus", "Cyprus"),
        "Mg": ("Greece", "Greece"),
        "Y": ("Swedish", "Sweden"),
        "Tb": ("Sweden", "Sweden"),
        "Er": ("Swedish", "Sweden"),
        "Yb": ("Swedish", "Sweden"),
        "Ho": ("Sweden", "Sweden"),
        "Sr": ("Scottish", "Scotland"),
        "Ds": ("Germany", "Germany"),
        "Lu": ("Paris", "France"),
        "Hf": ("Copenhagen", "Denmark"),
        "Mc": ("Moscov", "Russia"),
        "Bk": ("California", "United States of America"),
        "Cf": ("California", "United States of America"),
        "Ts": ("United States", "United States of America"),
    }
)
"""Symbol to the word of the source's name origin that tells the country, and that country."""
WRONG_YEARS = frozenset({"Nd", "Be", "Tc"})
"""Symbols whose discovery year in the source contradicts the discoverer it names."""

Record = Mapping[str, Any]


def element_rows(sources: Sources) -> list[Row]:
    """One page for each element, in the order of the atomic number."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "elements.db"
        path.write_bytes(sources.elements.read("mendeleev/elements.db"))
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        series = {row["id"]: (row["name"], row["color"]) for row in connection.execute("select * from series")}
        records = [dict(row) for row in connection.execute("select * from elements order by atomic_number")]
        connection.close()
    once = _told_once([str(record["discoverers"] or "") for record in records])
    return [_row(record, series=series[record["series_id"]], once=once) for record in records]


def _told_once(names: list[str]) -> frozenset[str]:
    return frozenset(name for name in names if names.count(name) == 1)


def _row(record: Record, *, series: tuple[str, str], once: frozenset[str]) -> Row:
    name, symbol = str(record["name"]), str(record["symbol"])
    pairs: list[tuple[str, str]] = [("symbol", symbol), ("atomic number", str(record["atomic_number"]))]
    place = record["discovery_location"]
    if place and "/" not in place and place != "Great Britain":
        pairs.append(("discovery country", COUNTRIES.get(place, place)))
    if record["discovery_year"] and symbol not in WRONG_YEARS:
        pairs.append(("discovery year", str(record["discovery_year"])))
    finder = str(record["discoverers"] or "")
    if finder in once and re.fullmatch(r"[A-Z][a-zé]+(?: [A-Z][a-zé]+)+", finder):
        pairs.append(("discoverer", finder))
    if symbol in NAMESAKES:
        word, country = NAMESAKES[symbol]
        if word not in str(record["name_origin"]):
            raise ValueError(f"the name origin of {name} no longer mentions {word}")
        pairs.append(("namesake country", country))
    lines = [sentence(relation, subject=name, value=value) for relation, value in pairs]
    if record["name_origin"]:
        lines.append(f"Name origin: {str(record['name_origin']).rstrip('.')}.")
    lines += [f"{part.rstrip('.')}." for part in re.split(r"(?<=[a-z)])\. ", str(record["description"] or "")) if part]
    if record["uses"]:
        lines.append(f"Uses: {str(record['uses']).rstrip('.')}.")
    return Row(
        title=name,
        category="chemistry",
        sentences=tuple(lines),
        infobox=tuple(pairs),
        links=tuple(value for relation, value in pairs if relation.endswith("country")),
        sources=(ELEMENTS,),
        entity=f"element-{symbol.lower()}",
        kind="element",
        name=f"Tile of {name}",
        keywords=(symbol, "element"),
        picture=webp_of(_draw(record, series_colour=series[1])),
    )


def _draw(record: Record, *, series_colour: str) -> Image.Image:
    """A tile in the element's CPK colour (Jmol's table), a bar in the colour of its series, its place in the table."""
    colour = str(record["jmol_color"] or series_colour)
    image = Image.new("RGB", (256, 256), colour)
    draw = ImageDraw.Draw(image)
    red, green, blue = ImageColor.getrgb(colour)[:3]
    ink = "black" if 299 * red + 587 * green + 114 * blue > 128_000 else "white"
    draw.text((128, 120), str(record["symbol"]), fill=ink, anchor="mm", font=ImageFont.load_default(150))
    draw.text((16, 10), str(record["atomic_number"]), fill=ink, font=ImageFont.load_default(44))
    draw.rectangle((0, 208, 256, 256), fill=series_colour, outline=ink, width=4)
    left = 8 + (int(record["group_id"] or 3) - 1) * 13
    top = 212 + (int(record["period"]) - 1) * 5
    draw.rectangle((left, top, left + 13, top + 10), fill="black")
    draw.rectangle((0, 0, 255, 255), outline=ink, width=4)
    return image
