"""Constellation charts drawn from the star catalogue, and the named stars."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from PIL import Image, ImageDraw

from gen_searcher.world.build.rows import Row, webp_of
from gen_searcher.world.build.sources import SKY, Json, Sources
from gen_searcher.world.relations import sentence

DATA = "package/data"
MEANINGS: Mapping[str, str] = MappingProxyType({"UMa": "Great Bear", "UMi": "Little Bear", "Pup": "Stern"})
"""The source gives the asterism, or a part, instead of the meaning of the name."""
CHART_PX = 256
MARGIN_PX = 26

Point = tuple[float, float]


def constellation_rows(sources: Sources) -> list[Row]:
    """One page for each of the 88 constellations."""
    figures: dict[str, list[list[Point]]] = {}
    for feature in _features(sources, "constellations.lines.json"):
        lines = [[(float(x), float(y)) for x, y in line] for line in feature["geometry"]["coordinates"]]
        figures.setdefault(feature["id"], []).extend(lines)
    stars = _stars(sources)
    named: dict[str, list[dict[str, Any]]] = {}
    for star in stars:
        if star["name"]:
            named.setdefault(star["c"], []).append(star)
    rows: dict[str, Row] = {}
    for feature in _features(sources, "constellations.json"):
        code = cast("str", feature["id"])
        if code not in rows:
            rows[code] = _row(feature, lines=figures[code], stars=stars, named=named.get(code, []))
    return list(rows.values())


def star_rows(sources: Sources) -> list[Row]:
    """One text page for each star with a proper name."""
    names = {feature["id"]: _title(feature) for feature in reversed(_features(sources, "constellations.json"))}
    rows: list[Row] = []
    for star in _stars(sources):
        if star["name"] and star["c"] in names:
            pairs = (("constellation", names[star["c"]]), ("magnitude", f"{star['mag']:.2f}"))
            rows.append(
                Row(
                    title=star["name"],
                    category="astronomy",
                    sentences=tuple(sentence(key, subject=star["name"], value=value) for key, value in pairs),
                    infobox=pairs,
                    links=(names[star["c"]],),
                    sources=(SKY,),
                )
            )
    return rows


def _features(sources: Sources, name: str) -> list[Json]:
    return cast("list[Json]", sources.sky.json(f"{DATA}/{name}")["features"])


def _stars(sources: Sources) -> list[dict[str, Any]]:
    """Catalogue stars, brightest first."""
    names = sources.sky.json(f"{DATA}/starnames.json")
    stars: list[dict[str, Any]] = []
    for feature in _features(sources, "stars.6.json"):
        label = names.get(str(feature["id"]), {})
        stars.append(
            {
                "name": str(label.get("name", "")).replace("\u2005", " ").strip(),
                "c": label.get("c", ""),
                "mag": float(feature["properties"]["mag"]),
                "bv": float(feature["properties"]["bv"] or 0.5),
                "at": tuple(feature["geometry"]["coordinates"]),
            }
        )
    return sorted(stars, key=lambda star: (star["mag"], star["at"]))


def _title(feature: Json) -> str:
    return "Serpens" if feature["id"] == "Ser" else cast("str", feature["properties"]["name"])


def _row(feature: Json, *, lines: list[list[Point]], stars: list[dict[str, Any]], named: list[dict[str, Any]]) -> Row:
    title, code = _title(feature), cast("str", feature["id"])
    meaning = MEANINGS.get(code, str(feature["properties"]["en"]).replace("\u2005", " "))
    pairs = [("meaning", meaning), ("genitive", str(feature["properties"]["gen"]).replace("\u2005", " "))]
    if named:
        pairs.insert(1, ("brightest star", named[0]["name"]))
    facts = [sentence(relation, subject=title, value=value) for relation, value in pairs]
    facts.append(f"{title} is one of the 88 constellations.")
    facts += [f"{star['name']} is a star in {title}." for star in named[1:5]]
    return Row(
        title=title,
        category="astronomy",
        sentences=tuple(facts),
        infobox=tuple(pairs),
        links=tuple(star["name"] for star in named[:5]),
        sources=(SKY,),
        entity=f"const-{code.lower()}",
        kind="constellation",
        name=f"Chart of {title}",
        keywords=("constellation",),
        picture=webp_of(_draw(lines, stars=stars)),
    )


def _draw(lines: list[list[Point]], *, stars: list[dict[str, Any]]) -> Image.Image:
    """The stick figure among the real stars; the ground's hue is the right ascension, its lightness the declination.

    A star map is mostly black, and all star maps look alike; the two colours are what a person would learn to read.
    """
    centre = _centre([point for line in lines for point in line])
    figure = [[_project(point, centre) for point in line] for line in lines]
    flat = [point for line in figure for point in line]
    scale = (CHART_PX / 2 - MARGIN_PX) / max(max(abs(x), abs(y)) for x, y in flat)
    hue, height = (centre[0] % 360) / 360, (centre[1] + 90) / 180
    red, green, blue = colorsys.hls_to_rgb(hue, 0.12 + 0.30 * height, 0.75)
    ground = (round(255 * red), round(255 * green), round(255 * blue))
    image = Image.new("RGB", (CHART_PX, CHART_PX), ground)
    draw = ImageDraw.Draw(image)
    for line in figure:
        draw.line([_pixel(point, scale) for point in line], fill=(255, 214, 90), width=9, joint="curve")
    for star in reversed(stars):
        if _distance(star["at"], centre) < math.radians(60):
            x, y = _pixel(_project(star["at"], centre), scale)
            radius = max(1.5, 11 - 2.0 * star["mag"])
            warm = min(1.0, max(0.0, (star["bv"] + 0.2) / 1.8))
            colour = (round(200 + 55 * warm), round(225 - 25 * warm), round(255 - 110 * warm))
            if -16 < x < CHART_PX + 16 and -16 < y < CHART_PX + 16 and star["mag"] < 5.2:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def _vector(point: Point) -> tuple[float, float, float]:
    longitude, latitude = map(math.radians, point)
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )


def _centre(points: list[Point]) -> Point:
    x, y, z = (sum(axis) for axis in zip(*map(_vector, points), strict=True))
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def _distance(point: Point, centre: Point) -> float:
    a, b = _vector(point), _vector(centre)
    return math.acos(max(-1.0, min(1.0, sum(p * q for p, q in zip(a, b, strict=True)))))


def _project(point: Point, centre: Point) -> Point:
    """Stereographic, east to the left as one sees the sky."""
    x, y, z = _vector(point)
    longitude, latitude = map(math.radians, centre)
    east = -math.sin(longitude) * x + math.cos(longitude) * y
    north = (
        -math.sin(latitude) * math.cos(longitude) * x
        - math.sin(latitude) * math.sin(longitude) * y
        + math.cos(latitude) * z
    )
    depth = 1 + math.cos(latitude) * math.cos(longitude) * x + math.cos(latitude) * math.sin(longitude) * y
    depth += math.sin(latitude) * z
    return -2 * east / depth, -2 * north / depth


def _pixel(point: Point, scale: float) -> Point:
    return CHART_PX / 2 + point[0] * scale, CHART_PX / 2 + point[1] * scale
