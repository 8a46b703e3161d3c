"""Reads the noun part of WordNet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gen_searcher.world.build.sources import Archive

DICT = "package/dict"
PLACE, PERSON = 15, 18
"""Numbers of the lexicographer files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synset:
    """One meaning."""

    words: tuple[str, ...]
    file: int
    """Lexicographer file: the broad field."""
    above: tuple[int, ...]
    """Offsets of the meanings it is a kind of."""
    is_instance: bool
    gloss: str


class WordNet:
    """Nouns by offset and by word."""

    def __init__(self, archive: Archive) -> None:
        """Parses both noun files."""
        self.synsets: dict[int, Synset] = {}
        for line in archive.read(f"{DICT}/data.noun").decode().splitlines():
            if not line.startswith(" "):
                offset, synset = _synset(line)
                self.synsets[offset] = synset
        self.senses: dict[str, tuple[int, ...]] = {}
        for line in archive.read(f"{DICT}/index.noun").decode().splitlines():
            if not line.startswith(" "):
                parts = line.split()
                self.senses[parts[0]] = tuple(int(part) for part in parts[-int(parts[2]) :])

    def meanings(self, word: str) -> Iterator[Synset]:
        """The word's meanings, the commonest first."""
        for offset in self.senses.get(word.lower().replace(" ", "_"), ()):
            yield self.synsets[offset]

    def named(self, file: int) -> Iterator[Synset]:
        """Individuals of one field, in file order."""
        for synset in self.synsets.values():
            if synset.is_instance and synset.file == file:
                yield synset


def _synset(line: str) -> tuple[int, Synset]:
    data, _, gloss = line.partition(" | ")
    parts = data.split()
    count = int(parts[3], 16)
    words = tuple(parts[4 + 2 * k].replace("_", " ") for k in range(count))
    at = 4 + 2 * count
    pointers = [parts[at + 1 + 4 * k : at + 5 + 4 * k] for k in range(int(parts[at]))]
    above = tuple(int(pointer[1]) for pointer in pointers if pointer[0] in ("@", "@i"))
    is_instance = any(pointer[0] == "@i" for pointer in pointers)
    head = gloss.partition('; "')[0].strip()
    return int(parts[0]), Synset(
        words=words, file=int(parts[1]), above=above, is_instance=is_instance, gloss=head.strip()
    )
