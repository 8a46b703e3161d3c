"""Flags and country facts."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# The rows come from JSON files of other people; resvg_py ships no types.

from __future__ import annotations

import io
from typing import cast

import resvg_py
from PIL import Image

from gen_searcher.world.build.rows import SIDE_PX, Row, webp_of
from gen_searcher.world.build.sources import COUNTRIES, FLAGS, Json, Sources
from gen_searcher.world.relations import sentence

NO_COUNTRY = frozenset({"xx"})
"""The placeholder flag keeps its picture and says nothing else."""


def country_rows(sources: Sources) -> list[Row]:
    """One page for each flag."""
    flags = cast("list[Json]", sources.flags.json("package/country.json"))
    names = {flag["code"].upper(): flag["name"] for flag in flags}
    by_alpha3 = {facts["ISO"]["alpha3"]: names[code] for code, facts in sources.countries.items() if code in names}
    return [_row(flag, sources=sources, by_alpha3=by_alpha3) for flag in flags]


def _row(flag: Json, *, sources: Sources, by_alpha3: dict[str, str]) -> Row:
    name, code = cast("str", flag["name"]), cast("str", flag["code"])
    facts = sources.countries.get(code.upper(), {})
    pairs: list[tuple[str, str]] = []
    if flag.get("capital"):
        pairs.append(("capital", flag["capital"]))
    if facts.get("currencies"):
        pairs.append(("currency", facts["currencies"][0]))
    if facts.get("demonym"):
        pairs.append(("demonym", facts["demonym"]))
    if facts.get("tld"):
        pairs.append(("internet domain", facts["tld"][0]))
    if facts.get("callingCodes"):
        pairs.append(("calling code", "+" + facts["callingCodes"][0].replace(" ", "")))
    if flag.get("continent"):
        pairs.append(("continent", flag["continent"]))
    if facts.get("area"):
        pairs.append(("area", f"{round(facts['area'])} km2"))
    if facts.get("population"):
        pairs.append(("population", str(facts["population"])))
    neighbours = tuple(by_alpha3[code3] for code3 in facts.get("borders", ()) if code3 in by_alpha3)
    lines = [sentence(relation, subject=name, value=value) for relation, value in pairs]
    lines += [f"A neighbour of {name} is {neighbour}." for neighbour in neighbours]
    return Row(
        title=name,
        category="geography",
        sentences=tuple(lines) or (f"This is the flag of {name}.",),
        infobox=tuple(pairs),
        links=(*([flag["capital"]] if flag.get("capital") else []), *neighbours),
        sources=(FLAGS, COUNTRIES) if facts else (FLAGS,),
        entity=f"flag-{code}",
        kind="flag",
        name=f"Flag of {name}",
        picture=webp_of(_draw(sources.flags.read(f"package/flags/1x1/{code}.svg"))),
    )


def _draw(svg: bytes) -> Image.Image:
    png = resvg_py.svg_to_bytes(svg_string=svg.decode(), width=SIDE_PX * 2, height=SIDE_PX * 2)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image)
