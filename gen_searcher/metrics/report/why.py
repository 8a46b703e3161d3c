"""Why attempts failed, as the page shows it: `bench/analysis-ARM.json` -> one table per arm and a line per attempt."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from gen_searcher.metrics.report import figures

SAMPLES = 3
"""Attempts that the page shows of each link, those that would gain most."""
UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCount:
    """One link of the chain; K-Scores are 0 to 100."""

    link: str
    attempts: int
    also: int
    share: float
    lost: float | None
    rise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCase:
    """One failed attempt."""

    offset: int
    link: str | None
    why: str
    k: float
    mended_k: float | None
    also: tuple[str, ...] = ()

    @property
    def gain(self) -> float:
        """What mending its link would bring, 0 where nobody knows."""
        return 0.0 if self.mended_k is None else self.mended_k - self.k

    @property
    def words(self) -> str:
        """In one line."""
        also = f" (also broken: {', '.join(self.also)})" if self.also else ""
        return f"{self.link or UNDECIDED}: {self.why}{also}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The analysis of one arm."""

    arm: str
    attempts_sha256: str
    bar: float
    k_score: float
    attempts: int
    failed: int
    undecided: int
    links: tuple[LinkCount, ...]
    cases: tuple[FailedCase, ...]

    def samples(self, link: str | None) -> tuple[int, ...]:
        """Offsets of the attempts that stand for a link; None for the undecided ones."""
        own = sorted((case for case in self.cases if case.link == link), key=lambda case: (-case.gain, case.offset))
        return tuple(case.offset for case in own[:SAMPLES])

    @property
    def all_samples(self) -> frozenset[int]:
        """Of every link."""
        return frozenset(offset for link in (*(row.link for row in self.links), None) for offset in self.samples(link))

    @property
    def said(self) -> Mapping[int, str]:
        """Offset -> why that attempt failed."""
        return {case.offset: case.words for case in self.cases}


_WHY = TypeAdapter(Why)


def read_whys(folder: Path, *, notes: list[str]) -> dict[str, Why]:
    """The analyses of a benchmark's folder by arm; one of other attempts than are there now is left out and said."""
    found: dict[str, Why] = {}
    for file in sorted(folder.glob("analysis-*.json")):
        try:
            why = _WHY.validate_json(file.read_bytes())
        except ValidationError as error:
            notes.append(f"{folder.name}/{file.name} cannot be read: {error.error_count()} errors; it is left out.")
            continue
        attempts = folder / f"attempts-{why.arm}.jsonl"
        if not attempts.is_file() or _digest(attempts) != why.attempts_sha256:
            notes.append(f"{folder.name}/{file.name} is of other attempts than {attempts.name} holds; it is left out.")
            continue
        found[why.arm] = why
    return found


def _digest(file: Path) -> str:
    with file.open("rb") as lines:
        return hashlib.file_digest(lines, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyRow:
    """One printed row."""

    link: str
    attempts: int
    share: str
    bar: Markup
    also: str
    lost: str
    rise: str
    samples: tuple[str, ...]
    """Ids of attempts on this page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """One section."""

    id: str
    arm: str
    summary: str
    rows: tuple[WhyRow, ...]


def why_view(why: Why, *, index: int, ids: Mapping[int, str], shown: Collection[str]) -> WhyView:
    """The section of an arm; `ids` are those of its attempts by offset, `shown` the ids that are on the page."""

    def there(link: str | None) -> tuple[str, ...]:
        return tuple(ids[offset] for offset in why.samples(link) if ids.get(offset) in shown)

    rows = [
        WhyRow(
            link=row.link,
            attempts=row.attempts,
            share=f"{row.share:.0%}",
            bar=Markup(figures.length_bar(row.share, domain=(0.0, 1.0), said=f"{row.share:.0%} of failed attempts")),
            also=str(row.also),
            lost="" if row.lost is None else f"{row.lost:+.1f}",
            rise=f"{row.rise:+.2f}" if row.attempts else "",
            samples=there(row.link),
        )
        for row in why.links
    ]
    if why.undecided:
        share = why.undecided / why.failed
        bar = Markup(figures.length_bar(share, domain=(0.0, 1.0), said=f"{share:.0%} of failed attempts"))
        rows.append(
            WhyRow(
                link=UNDECIDED, attempts=why.undecided, share=f"{share:.0%}", bar=bar, also="", lost="", rise="",
                samples=there(None),
            )
        )  # fmt: skip
    summary = (
        f"{why.failed} of {why.attempts} attempts have faithfulness, visual correctness or text accuracy below {why.bar:g}. "
        f"Each counts for the earliest link that stays broken when all after it is the oracle's. K-Score of the arm: "
        f"{why.k_score:.2f}."
    )
    return WhyView(id=f"why-{index}", arm=why.arm, summary=summary, rows=tuple(rows))
