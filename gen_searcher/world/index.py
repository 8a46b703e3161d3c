"""Finds pages and pictures: BM25, with a taste of its own for pictures.

    query -> words -> scores over all documents -> the best, best first

Like a real image search, the picture index likes popular pictures: the one that matches best is among the first four,
but first only about half the time. Reading the titles pays.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from gen_searcher.world.world import Entity, WebPage, World

K1, B = 1.2, 0.6
TITLE_WEIGHT = 3
"""How often the words of a title count."""
COPIES = 12
"""More pictures than are ever the same."""
SHUFFLED = 4
"""So many of the best matches are put in order of match and popularity."""
MATCH_WEIGHT = 0.34
"""Of a perfect match, against a popularity between 0 and 1: the right picture comes first about half the time."""
SNIPPET_CHARS = 120
SHORT_CHARS = 90
"""Two sentences together are no longer."""
_WORD = re.compile(r"[a-z0-9]+")
_EMPTY_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "is", "it", "its", "of", "on", "or", "s"}
    | {"that", "the", "to", "was", "which", "with"}
)


@lru_cache(maxsize=1 << 16)
def words(text: str) -> tuple[str, ...]:
    """Lower-case words without accents, without the emptiest ones."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return tuple(word for word in _WORD.findall(plain) if word not in _EMPTY_WORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A document and how well it matches."""

    position: int
    score: float


class Bm25:
    """Okapi BM25 over bags of words."""

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        """Counts every word once."""
        lengths = np.array([len(document) for document in documents], dtype=np.float64)
        norms = K1 * (1 - B + B * lengths / lengths.mean())
        postings: dict[str, list[tuple[int, int]]] = {}
        for position, document in enumerate(documents):
            for word, count in Counter(document).items():
                postings.setdefault(word, []).append((position, count))
        self._size = len(documents)
        self._postings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._idf: dict[str, float] = {}
        for word, entries in postings.items():
            at = np.array([position for position, _ in entries])
            counts = np.array([count for _, count in entries], dtype=np.float64)
            self._idf[word] = math.log(1 + (self._size - len(entries) + 0.5) / (len(entries) + 0.5))
            self._postings[word] = (at, self._idf[word] * counts * (K1 + 1) / (counts + norms[at]))

    def idf(self, word: str) -> float:
        """How rare a word is; 0 for one that never occurs."""
        return self._idf.get(word, 0.0)

    def best(self, query: str, *, limit: int) -> list[Scored]:
        """Matching documents, best first; equal ones in an order that depends on the query."""
        scores = np.zeros(self._size)
        for word in dict.fromkeys(words(query)):
            if word in self._postings:
                at, values = self._postings[word]
                scores[at] += values
        count = min(self._size, limit + 64)
        nearest = np.argpartition(-scores, count - 1)[:count]
        found = [Scored(position=int(k), score=round(float(scores[k]), 6)) for k in nearest if scores[k] > 0]
        found.sort(key=lambda hit: (-hit.score, _chance(query, str(hit.position))))
        return found[:limit]


class PageIndex:
    """Text search over all pages."""

    def __init__(self, world: World) -> None:
        """Reads every page."""
        self._pages = list(world.pages.values())
        self._bm25 = Bm25([words(f"{page.title} " * TITLE_WEIGHT + " ".join(page.sentences)) for page in self._pages])

    def find(self, query: str, *, limit: int) -> list[WebPage]:
        """The best pages, best first."""
        return [self._pages[hit.position] for hit in self._bm25.best(query, limit=limit)]

    def snippet(self, page: WebPage, query: str) -> str:
        """The sentence that fits the query best, and another one that fits as well if both are short."""
        asked = set(words(query))
        gains = [sum(self._bm25.idf(word) for word in asked & set(words(line))) for line in page.sentences]
        order = sorted(range(len(gains)), key=lambda k: (-gains[k], k))
        chosen = order[:1]
        for k in order[1:2]:
            room = SHORT_CHARS - 1 - len(page.sentences[order[0]])
            if len(page.sentences[k]) <= room and gains[k] == gains[order[0]] > 0:
                chosen.append(k)
        return clip(" ".join(page.sentences[k] for k in sorted(chosen)), SNIPPET_CHARS)


class PictureIndex:
    """Image search over all pictures."""

    def __init__(self, world: World) -> None:
        """Reads every picture's title and keywords."""
        self._entities = list(world.entities.values())
        self._bm25 = Bm25(
            [words(f"{entity.name} " * TITLE_WEIGHT + " ".join(entity.keywords[:8])) for entity in self._entities]
        )
        self._by_kind: dict[str, list[Entity]] = {}
        for entity in self._entities:
            self._by_kind.setdefault(entity.kind, []).append(entity)

    def find(self, query: str, *, limit: int) -> list[Entity]:
        """The best pictures, in an order that mixes match and popularity; empty when no word matches."""
        hits = self._without_copies(self._bm25.best(query, limit=max(limit, SHUFFLED) + COPIES))
        if not hits:
            return []
        found = [self._entities[hit.position] for hit in hits][: max(limit, SHUFFLED)]
        found += self._fillers(query, kind=found[0].kind, known=found, count=max(limit, SHUFFLED) - len(found))
        match = {self._entities[hit.position].id: hit.score / hits[0].score for hit in hits}
        first = sorted(
            found[:SHUFFLED],
            key=lambda entity: -(MATCH_WEIGHT * match.get(entity.id, 0.0) + _chance("popularity", entity.id)),
        )
        return [*first, *found[SHUFFLED:]][:limit]

    def _without_copies(self, hits: Sequence[Scored]) -> list[Scored]:
        """The same picture once, under the title that matches best."""
        shown: set[str] = set()
        kept: list[Scored] = []
        for hit in hits:
            entity = self._entities[hit.position]
            if not shown & set(entity.look_alikes):
                shown.add(entity.id)
                kept.append(hit)
        return kept

    def _fillers(self, query: str, *, kind: str, known: Sequence[Entity], count: int) -> list[Entity]:
        """Pictures of the same kind: what an image search shows when it knows nothing better."""
        shown = {entity.id for entity in known} | {copy for entity in known for copy in entity.look_alikes}
        rest = [entity for entity in self._by_kind[kind] if entity.id not in shown]
        return sorted(rest, key=lambda entity: _chance(query, entity.id))[: max(0, count)]


@cache
def _pages_of(world: World) -> PageIndex:
    return PageIndex(world)


@cache
def _pictures_of(world: World) -> PictureIndex:
    return PictureIndex(world)


def page_index(world: World | None = None) -> PageIndex:
    """The index over a world's pages, the package's own by default; built once."""
    return _pages_of(world or World.load())


def picture_index(world: World | None = None) -> PictureIndex:
    """The index over a world's pictures, the package's own by default; built once."""
    return _pictures_of(world or World.load())


def clip(text: str, limit: int) -> str:
    """Cut at a word, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rsplit(" ", 1)[0] + "…"


def _chance(salt: str, text: str) -> float:
    """A number in 0..1 that is always the same for the same words."""
    return int.from_bytes(hashlib.blake2b(f"{salt}\n{text}".encode(), digest_size=6).digest()) / (1 << 48)
