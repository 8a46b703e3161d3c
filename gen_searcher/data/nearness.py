"""How near two requests or two pictures are, and a quick way to the near ones among many.

    request -> shingles -> MinHash -> bands -> candidates -> Jaccard similarity
    request -> shingles -> how much of what is peculiar to another request it holds
    picture -> 64-bit difference hash + colours, of it and of its middle -> distance

MinHash: Broder, On the resemblance and containment of documents, 1997. Difference hash: 8 x 8 signs of the brightness
between neighbours, which neither scaling nor recompression moves much.
"""

from __future__ import annotations

import hashlib
import math
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
MARGINS = (0.0, 1 / 40, 1 / 20, 1 / 12)
"""Cut off each side before a picture is looked at: a difference hash does not know a picture again that was cropped."""

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


class Guarded:
    """Requests of which no other may hold most, whatever it says beside.

    The similarity of two texts drops with everything that is added to one of them; what a text holds of another does not.
    A shingle weighs the more the fewer of the guarded requests have it, so that a changed "Draw a picture of" counts
    little and a shared one does not make two requests equal.
    """

    def __init__(self) -> None:
        """None yet."""
        self._names: list[str] = []
        self._holders: dict[int, list[int]] = {}
        self._weighed: _Weighed | None = None

    def add(self, name: str, text: str) -> None:
        """Take a request in. `name` is told to those who hold it."""
        for shingle in shingles(text):
            self._holders.setdefault(shingle, []).append(len(self._names))
        self._names.append(name)
        self._weighed = None

    def held(self, text: str) -> Near | None:
        """The one of which the text holds most, 0..1 of its weight; None when it shares no shingle with any."""
        if self._weighed is None:
            self._weighed = self._weigh()
        shared = [shingle for shingle in sorted(shingles(text)) if shingle in self._holders]
        if not shared:
            return None
        holders = [self._weighed.holders[shingle] for shingle in shared]
        weights = np.repeat([self._weighed.weights[shingle] for shingle in shared], [len(one) for one in holders])
        held_N = np.bincount(np.concatenate(holders), weights, minlength=len(self._names)) / self._weighed.totals_N
        best = int(held_N.argmax())
        return Near(name=self._names[best], similarity=min(1.0, float(held_N[best])))

    def _weigh(self) -> _Weighed:
        count = len(self._names)
        weights = {shingle: math.log1p(count / len(holders)) for shingle, holders in self._holders.items()}
        holders = {shingle: np.array(found, dtype=np.intp) for shingle, found in self._holders.items()}
        totals_N = np.zeros(count)
        for shingle, found in holders.items():
            totals_N[found] += weights[shingle]
        return _Weighed(weights=weights, holders=holders, totals_N=totals_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    """Of N guarded requests."""

    weights: dict[int, float]
    holders: dict[int, NDArray[np.intp]]
    """Shingle -> the requests that have it."""
    totals_N: NDArray[np.float64]
    """[N] weight of all shingles of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A picture or its middle, as far as comparing needs it."""

    bits: int
    """64-bit difference hash."""
    colours: bytes
    """Thumbnail of 16 x 16 RGB cells."""


Look = tuple[View, ...]
"""Views of one picture, in the order of `MARGINS`."""


def look_of(image: Image.Image) -> Look:
    """What is compared of a picture."""
    colours = image.convert("RGB")
    gray = colours.convert("L")
    return tuple(_view(colours, gray, margin) for margin in MARGINS)


def _view(colours: Image.Image, gray: Image.Image, margin: float) -> View:
    across, down = margin * gray.width, margin * gray.height
    box = (across, down, gray.width - across, gray.height - down)
    cells = np.asarray(gray.resize((9, 8), Image.Resampling.BOX, box), dtype=np.int16)
    signs = (cells[:, 1:] > cells[:, :-1]).ravel()
    bits = int("".join("1" if sign else "0" for sign in signs), 2)
    return View(bits=bits, colours=colours.resize((THUMB_PX, THUMB_PX), Image.Resampling.BOX, box).tobytes())


class Pictures:
    """Pictures that are there already."""

    def __init__(self) -> None:
        """None yet."""
        self._names: list[str] = []
        self._bits_NV: NDArray[np.uint64] = np.zeros((0, len(MARGINS)), dtype=np.uint64)
        self._colours: list[list[NDArray[np.int16]]] = []

    def add(self, name: str, look: Look) -> None:
        """Take a picture in."""
        if len(self._names) == len(self._bits_NV):
            more = np.zeros((max(64, len(self._bits_NV)), len(MARGINS)), dtype=np.uint64)
            self._bits_NV = np.concatenate((self._bits_NV, more))
        self._bits_NV[len(self._names)] = [view.bits for view in look]
        self._names.append(name)
        self._colours.append([_cells(view) for view in look])

    def near(self, look: Look, *, bits: int) -> str | None:
        """The first one whose hash differs in at most `bits` bits and whose colours agree, one of the two perhaps cropped."""
        whole, *middles = look
        known_NV = self._bits_NV[: len(self._names)]
        close: list[tuple[int, int]] = np.argwhere(_apart(known_NV, whole) <= bits).tolist()
        pairs = [(at, view, whole) for at, view in close]
        for middle in middles:
            closer: list[int] = np.flatnonzero(_apart(known_NV[:, 0], middle) <= bits).tolist()
            pairs += [(at, 0, middle) for at in closer]
        for at, view, mine in sorted(pairs, key=lambda pair: pair[0]):
            if int(np.abs(self._colours[at][view] - _cells(mine)).max()) <= COLOUR_SAME:
                return self._names[at]
        return None


def _apart(known: NDArray[np.uint64], view: View) -> NDArray[np.uint8]:
    return np.bitwise_count(known ^ np.uint64(view.bits))


def _cells(view: View) -> NDArray[np.int16]:
    return np.frombuffer(view.colours, dtype=np.uint8).astype(np.int16)


def _band_keys(mine: frozenset[int]) -> Iterator[bytes]:
    """One key per band, its number inside."""
    values = np.fromiter(mine, dtype=np.uint64, count=len(mine))
    hashed = values[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]  # modulo 2^64; the high bits are the good ones
    least = (hashed >> np.uint64(32)).min(axis=1).astype(np.uint32).reshape(BANDS, BAND_ROWS)
    for number in range(BANDS):
        yield number.to_bytes(1) + least[number].tobytes()
