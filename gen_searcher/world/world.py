"""The embedded world: real pages and pictures, read from the package data once per process."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from PIL import Image
from pydantic import TypeAdapter

PICTURE = ".webp"
"""What a picture's address has behind its page's."""
DOMAIN = "mini.web"
"""Every host of the world ends with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """Something with a reference picture."""

    id: str
    name: str
    """Title of its picture, e.g. `Flag of Poland`."""
    kind: str
    """`flag`, `element`, `constellation` or `concept`."""
    category: str
    """KnowGen label."""
    page_id: str
    keywords: tuple[str, ...] = ()
    look_alikes: tuple[str, ...] = ()
    """Entities whose picture nobody can tell from this one."""

    @property
    def picture_url(self) -> str:
        """Where the world serves the picture."""
        return f"{page_url(self.page_id)}{PICTURE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPage:
    """One page."""

    id: str
    """`<category>/<slug>`."""
    title: str
    sentences: tuple[str, ...]
    """One fact each; the first ones are what a person would read first."""
    infobox: tuple[tuple[str, str], ...] = ()
    """Relation and value."""
    links: tuple[str, ...] = ()
    """Titles of other pages."""
    entity: str = ""
    """Id of the entity that the page shows; empty when it shows none."""
    licence: str

    @property
    def url(self) -> str:
        """Where the world serves the page."""
        return page_url(self.id)

    def fact(self, relation: str) -> str | None:
        """A value of the infobox."""
        return next((value for key, value in self.infobox if key == relation), None)


_ENTITY = TypeAdapter(Entity)
_PAGE = TypeAdapter(WebPage)


def page_url(page_id: str) -> str:
    """`geography/poland` -> `http://geography.mini.web/poland`."""
    category, _, slug = page_id.partition("/")
    return f"http://{category}.{DOMAIN}/{slug}"


class World:
    """All pages, entities and pictures."""

    def __init__(
        self,
        *,
        pages: Mapping[str, WebPage],
        entities: Mapping[str, Entity],
        pictures: bytes,
        shown: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`pictures` is a zip with one `<page id>.webp` per entity; `shown` names entities whose picture is another's."""
        self.pages = pages
        self.entities = entities
        self._packed = pictures
        self._pictures = zipfile.ZipFile(io.BytesIO(pictures))
        self._shown = shown
        self._by_url: Mapping[str, WebPage] = {page.url: page for page in pages.values()}
        self._by_title: Mapping[str, WebPage] = {page.title: page for page in reversed(list(pages.values()))}

    @classmethod
    def load(cls) -> World:
        """The world of the package; the same object each time."""
        return _packaged()

    def picture_file(self, entity_id: str) -> bytes:
        """The entity's picture as WebP."""
        shown = self.entities[self._shown.get(entity_id, entity_id)]
        return self._pictures.read(f"{shown.page_id}.webp")

    def serving(self, *, pages: Mapping[str, WebPage], shown: Mapping[str, str]) -> World:
        """The same entities with other pages, and with the pictures of others where `shown` says so."""
        return World(pages=pages, entities=self.entities, pictures=self._packed, shown=shown)

    def picture(self, entity_id: str) -> Image.Image:
        """The entity's picture, RGB, 128 x 128."""
        with Image.open(io.BytesIO(self.picture_file(entity_id)), formats=["WEBP"]) as image:
            return image.convert("RGB")

    def look_alikes(self, entity_id: str) -> tuple[str, ...]:
        """Entities whose picture nobody can tell from this one; all of them are right where this one is."""
        return self.entities[entity_id].look_alikes

    def licence_of(self, url: str) -> str | None:
        """Of the page or the picture that the world serves there, in the ledger's words; None when it serves nothing."""
        page = self._by_url.get(url.removesuffix(PICTURE))
        if page is None or not url.endswith(PICTURE):
            return None if page is None else page.licence
        if not page.entity:
            return None
        shown = self.entities[self._shown.get(page.entity, page.entity)]
        return self.pages[shown.page_id].licence

    def page_titled(self, title: str) -> WebPage | None:
        """The first page with this title."""
        return self._by_title.get(title)


@cache
def _packaged() -> World:
    data = resources.files("gen_searcher.world") / "data"
    pages = [_PAGE.validate_json(line) for line in _lines((data / "pages.jsonl.gz").read_bytes())]
    entities = [_ENTITY.validate_json(line) for line in _lines((data / "entities.jsonl.gz").read_bytes())]
    return World(
        pages=MappingProxyType({page.id: page for page in pages}),
        entities=MappingProxyType({entity.id: entity for entity in entities}),
        pictures=(data / "pictures.zip").read_bytes(),
    )


def _lines(data: bytes) -> list[bytes]:
    return gzip.decompress(data).splitlines()
