"""What a benchmark's figure is made of, as a value: one table is made with one scheme, so conventions cannot mix.

stratum  = sum over dimensions of share * mean of the dimension over the stratum's rows
overall  = sum over strata of share * stratum
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gen_searcher.rewards.verdict import AESTHETICS, FAITHFULNESS, TEXT_ACCURACY, VISUAL_CORRECTNESS, WEIGHTS

Meta = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How rows become figures."""

    name: str
    strata: Mapping[str, float]
    """Stratum to its share of the overall figure; they sum to one."""
    dimensions: Mapping[str, float]
    """Dimension of a verdict to its share of a stratum's figure; they sum to one."""
    scale: float
    """What figures are multiplied with when they are shown, as the benchmark prints them."""
    stratum: Callable[[str, Meta], str | None]
    """Id and meta of a row -> its stratum; None when it has none."""
    slices: tuple[str, ...] = ()
    """Keys of `meta` that figures are also given by."""


SCIENCE = "science & knowledge"
POP = "pop culture & news"
SCIENCE_CATEGORIES = frozenset(
    {"astronomy", "biology", "chemistry", "physics", "engineering", "medicine", "industry", "architecture"}
    | {"history", "geography", "religion", "politics", "culture", "art", "sports"}
)
POP_CATEGORIES = frozenset(
    {"anime", "game", "film", "celebrities", "posters", "news"}
    | {"multi-subject-anime", "multi-subject-celebrities", "multi-subject-game"}
)


def category(meta: Meta) -> str:
    """The row's category in lower case; empty when it names none."""
    return meta.get("category", "").strip().lower()


def _knowgen_split(row_id: str, meta: Meta) -> str | None:
    del row_id
    name = category(meta)
    return SCIENCE if name in SCIENCE_CATEGORIES else POP if name in POP_CATEGORIES else None


KNOWGEN = Scheme(
    name="knowgen",
    strata={SCIENCE: 0.5, POP: 0.5},
    dimensions=WEIGHTS,
    scale=100.0,
    stratum=_knowgen_split,
    slices=("category", "difficulty"),
)
"""K-score of the two splits, which count alike. `text_accuracy` is averaged over the rows that ask for text."""

CONSISTENCY, REALISM, AESTHETIC_QUALITY = "consistency", "realism", "aesthetic_quality"
SCORE = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One of WISE's categories."""

    name: str
    first: int
    last: int
    share: float
    label: str
    """How its rows' `Category` begins, in lower case."""


WISE_LEGACY_RANGES = (
    Range(name="culture", first=1, last=400, share=0.4, label="cultur"),
    Range(name="time", first=401, last=567, share=0.167, label="time"),
    Range(name="space", first=568, last=700, share=0.133, label="space"),
    Range(name="biology", first=701, last=800, share=0.1, label="bio"),
    Range(name="physics", first=801, last=900, share=0.1, label="phys"),
    Range(name="chemistry", first=901, last=1000, share=0.1, label="chem"),
)
WISE_VERIFIED_RANGES = (
    Range(name="culture", first=1, last=400, share=0.4, label="cultur"),
    Range(name="time", first=401, last=520, share=0.12, label="time"),
    Range(name="space", first=521, last=640, share=0.12, label="space"),
    Range(name="biology", first=641, last=760, share=0.12, label="bio"),
    Range(name="physics", first=761, last=880, share=0.12, label="phys"),
    Range(name="chemistry", first=881, last=1000, share=0.12, label="chem"),
)


def wise_range(ranges: tuple[Range, ...], prompt_id: int) -> Range | None:
    """The category that an id belongs to; None for an id that WISE does not have."""
    return next((one for one in ranges if one.first <= prompt_id <= one.last), None)


def _wise(name: str, ranges: tuple[Range, ...], dimensions: Mapping[str, float]) -> Scheme:
    def stratum(row_id: str, meta: Meta) -> str | None:
        del meta
        found = wise_range(ranges, int(row_id)) if row_id.isdecimal() else None
        return None if found is None else found.name

    return Scheme(
        name=name,
        strata={one.name: one.share for one in ranges},
        dimensions=dimensions,
        scale=1.0,
        stratum=stratum,
        slices=("subcategory",),
    )


WISE_LEGACY = _wise("wise-legacy", WISE_LEGACY_RANGES, {CONSISTENCY: 0.7, REALISM: 0.2, AESTHETIC_QUALITY: 0.1})
"""WiScore = (0.7 consistency + 0.2 realism + 0.1 aesthetic quality) / 2, each 0..2; parts are stored as 0..1."""
WISE_VERIFIED = _wise("wise-verified", WISE_VERIFIED_RANGES, {SCORE: 1.0})
"""One binary score per picture."""

SHORT: Mapping[str, str] = {
    FAITHFULNESS: "faithful",
    VISUAL_CORRECTNESS: "correct",
    TEXT_ACCURACY: "text",
    AESTHETICS: "aesthetic",
    CONSISTENCY: "consistent",
    REALISM: "realistic",
    AESTHETIC_QUALITY: "aesthetic",
    SCIENCE: "S&K",
    POP: "PC&N",
}
"""Column headings of what has a longer name."""
