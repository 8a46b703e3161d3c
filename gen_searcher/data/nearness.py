"""How near two requests or two pictures are, and a quick way to the near ones among many.

    request -> shingles -> MinHash -> bands -> candidates -> Jaccard similarity
    picture -> 64-bit difference hash + colours -> distance

MinHash: Broder, On the resemblance and containment of documents, 1997. Difference hash: 8 x 8 signs of the brightness
between neighbours, which neither scaling nor recompression moves much.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHINGLE_CHARS = 5
BANDS, BAND_ROWS = 32, 3
"""A pair of similarity s shares a band with probability 1 - (1 - s^3)^32: 0.999 at 0.6, 0.28 at 0.2."""
THUMB_PX = 16
COLOUR_SAME = 40
"""Largest difference, of 255, that any cell of the two thumbnails may have."""

_BLANK = re.compile(r"[\W_]+")
_RNG = np.random.default_rng(1997)
_FACTORS = _RNG.integers(1, 1 << 62, size=BANDS * BAND_ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _RNG.integers(0, 1 << 63, size=BANDS * BAND_ROWS, dtype=np.uint64)


def shingles(text: str) -> frozenset[int]:
    """Digests of all runs of five letters; case, accents, punctuation and spacing do not count."""
    folded = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    plain = _BLANK.sub(" ", folded).strip()
    runs = {plain[at : at + SHINGLE_CHARS] for at in range(max(1, len(plain) - SHINGLE_CHARS + 1))}
    return frozenset(int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest()) for run in runs)


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Shared shingles over all."""
    return len(one & other) / len(one | other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Somebody who was there before."""

    name: str
    similarity: float


class Requests:
    """Requests that are there already."""

    def __init__(self) -> None:
        """None yet."""
        self._shingles: dict[str, frozenset[int]] = {}
        self._bands: dict[bytes, list[str]] = {}

    def add(self, name: str, text: str) -> None:
        """Take a request in. `name` is told to those who come near it."""
        mine = shingles(text)
        self._shingles[name] = mine
        for key in _band_keys(mine):
            self._bands.setdefault(key, []).append(name)

    def nearest(self, text: str) -> Near | None:
        """The most similar one; None when nothing shares a band with the text."""
        mine = shingles(text)
        names = {name for key in _band_keys(mine) for name in self._bands.get(key, ())}
        found = [Near(name=name, similarity=jaccard(mine, self._shingles[name])) for name in sorted(names)]
        return max(found, key=lambda near: near.similarity, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A picture as far as comparing needs it."""

    bits: int
    """64-bit difference hash."""
    colours: bytes
    """Thumbnail of 16 x 16 RGB cells."""


def look_of(image: Image.Image) -> Look:
    """What is compared of a picture."""
    small = image.convert("RGB")
    gray = np.asarray(small.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    signs = (gray[:, 1:] > gray[:, :-1]).ravel()
    bits = int("".join("1" if sign else "0" for sign in signs), 2)
    return Look(bits=bits, colours=small.resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX).tobytes())


class Pictures:
    """Pictures that are there already."""

    def __init__(self) -> None:
        """None yet."""
        self._names: list[str] = []
        self._bits: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
        self._colours: list[NDArray[np.int16]] = []

    def add(self, name: str, look: Look) -> None:
        """Take a picture in."""
        if len(self._names) == len(self._bits):
            self._bits = np.concatenate((self._bits, np.zeros(max(64, len(self._bits)), dtype=np.uint64)))
        self._bits[len(self._names)] = look.bits
        self._names.append(name)
        self._colours.append(_cells(look))

    def near(self, look: Look, *, bits: int) -> str | None:
        """The first one whose hash differs in at most `bits` bits and whose colours agree."""
        apart = np.bitwise_count(self._bits[: len(self._names)] ^ np.uint64(look.bits))
        mine = _cells(look)
        close: list[int] = np.flatnonzero(apart <= bits).tolist()
        for at in close:
            if int(np.abs(self._colours[at] - mine).max()) <= COLOUR_SAME:
                return self._names[at]
        return None


def _cells(look: Look) -> NDArray[np.int16]:
    return np.frombuffer(look.colours, dtype=np.uint8).astype(np.int16)


def _band_keys(mine: frozenset[int]) -> Iterator[bytes]:
    """One key per band, its number inside."""
    values = np.fromiter(mine, dtype=np.uint64, count=len(mine))
    hashed = values[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]  # modulo 2^64; the high bits are the good ones
    least = (hashed >> np.uint64(32)).min(axis=1).astype(np.uint32).reshape(BANDS, BAND_ROWS)
    for number in range(BANDS):
        yield number.to_bytes(1) + least[number].tobytes()
