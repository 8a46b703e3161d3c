"""The rows of the world and their files, written so that equal rows give equal bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gen_searcher.world.build.sources import Package

SIDE_PX = 128
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
LOOK_ALIKE_MAX = 3.8
"""Mean difference of 32x32 thumbnails, in levels of 255, up to which nobody can tell two pictures apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One page, with or without a picture."""

    title: str
    category: str
    """KnowGen label; also the host of the page."""
    sentences: tuple[str, ...]
    """One fact each."""
    sources: tuple[Package, ...]
    infobox: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    """Titles of other pages."""
    entity: str = ""
    """Id of the picture's entity; empty for a page without picture."""
    kind: str = ""
    name: str = ""
    """Title of the picture."""
    keywords: tuple[str, ...] = ()
    picture: bytes = b""
    """WebP."""


def slug_of(title: str) -> str:
    """Lower-case ASCII words with hyphens."""
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_title.lower()).strip("-") or "page"


def webp_of(image: Image.Image) -> bytes:
    """The picture as a small square WebP."""
    rgb = image.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    rgb.save(buffer, format="WEBP", quality=82, method=4)
    return buffer.getvalue()


def write_pack(rows: Sequence[Row], *, out: Path) -> None:
    """Write pages, entities, pictures and ledger into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    pages: list[dict[str, object]] = []
    entities: list[dict[str, object]] = []
    ledger: list[dict[str, object]] = []
    pictures: list[tuple[str, bytes]] = []
    taken: set[str] = set()
    alike = _look_alikes([row for row in rows if row.entity])
    for row in rows:
        slug = slug_of(row.title)
        if f"{row.category}/{slug}" in taken:
            slug = f"{slug}-{row.kind or 'page'}"
        page_id = f"{row.category}/{slug}"
        if page_id in taken:
            continue
        taken.add(page_id)
        page: dict[str, object] = {"id": page_id, "title": row.title, "sentences": row.sentences}
        page |= {key: value for key, value in (("infobox", row.infobox), ("links", row.links)) if value}
        if row.entity:
            page["entity"] = row.entity
            pictures.append((f"{page_id}.webp", row.picture))
            entities.append(
                {
                    "id": row.entity,
                    "name": row.name,
                    "kind": row.kind,
                    "category": row.category,
                    "page_id": page_id,
                    "keywords": row.keywords,
                    "look_alikes": alike[row.entity],
                }
            )
        page["licence"] = "; ".join(f"{source.name} {source.version}, {source.licence}" for source in row.sources)
        pages.append(page)
        ledger.append(
            {
                "id": page_id,
                "sources": [{"name": s.name, "version": s.version, "licence": s.licence} for s in row.sources],
                "page_sha256": hashlib.sha256(_line(page)).hexdigest(),
                "picture_sha256": hashlib.sha256(row.picture).hexdigest() if row.entity else "",
            }
        )
    _write_lines(out / "pages.jsonl.gz", pages)
    _write_lines(out / "entities.jsonl.gz", entities)
    _write_lines(out / "ledger.jsonl.gz", ledger)
    with zipfile.ZipFile(out / "pictures.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(pictures):
            archive.writestr(zipfile.ZipInfo(name, date_time=ZIP_TIME), data)


def _look_alikes(rows: Sequence[Row]) -> Mapping[str, list[str]]:
    """For each entity the others of its kind whose picture is (nearly) the same."""
    alike: dict[str, list[str]] = {row.entity: [] for row in rows}
    for kind in sorted({row.kind for row in rows}):
        ids = [row.entity for row in rows if row.kind == kind]
        thumbnails = np.stack([_thumbnail(row.picture) for row in rows if row.kind == kind])
        for entity, thumbnail in zip(ids, thumbnails, strict=True):
            near = np.nonzero(np.abs(thumbnails - thumbnail).mean(axis=1) <= LOOK_ALIKE_MAX)[0]
            alike[entity] = [ids[int(index)] for index in near if ids[int(index)] != entity]
    return alike


def _thumbnail(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((32, 32), Image.Resampling.BOX)
    return np.asarray(image, dtype=np.float32).ravel()


def _line(row: dict[str, object]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def _write_lines(path: Path, rows: Iterable[dict[str, object]]) -> None:
    data = b"\n".join(_line(row) for row in rows) + b"\n"
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))
