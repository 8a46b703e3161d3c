"""Attributions of one arm -> how often each link broke, and what mending it would be worth.

    [Case] -> make_analysis() -> JSON -> render() -> text

`rise` is what the arm's K-Score would gain if a link held in the attempts that count for it: their verdicts are replaced
by those of the counterfactual that mends it, and the formula of the table is applied anew. Rises of several links do not
add up, because K is made of means over rows where a dimension applies. Figures are 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypedDict

from gen_searcher.bench.attribution import Attribution, Standing
from gen_searcher.bench.links import Link, Parts
from gen_searcher.bench.table import aligned
from gen_searcher.rewards.verdict import aggregate, k_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One attempt and why it failed."""

    task_id: str
    seed: int
    outcome: str
    offset: int
    """Bytes from the start of the attempts' file to the attempt's line."""
    own: Parts
    attribution: Attribution


class LinkRow(TypedDict):
    """One link of the chain."""

    link: str
    attempts: int
    """That count for it."""
    also: int
    """Further ones in which it was broken too, behind an earlier link."""
    share: float
    """Of the failed attempts, 0..1."""
    lost: float | None
    """Mean K of these attempts with the link mended, less their own; None without one that a counterfactual mends."""
    rise: float
    """What the arm's K would gain."""


class CaseRow(TypedDict):
    """One failed attempt."""

    task: str
    seed: int
    outcome: str
    offset: int
    link: str | None
    """None when it is undecided."""
    also: list[str]
    why: str
    complaints: list[str]
    k: float
    mended_k: float | None


class Analysis(TypedDict):
    """Why the attempts of an arm failed, as `bench/analysis-ARM.json` holds it."""

    arm: str
    attempts_sha256: str
    """Of the file that was analysed; another file has other offsets."""
    bar: float
    k_score: float
    attempts: int
    failed: int
    undecided: int
    lost: int
    """Tries that the world spoiled; they are not attempts."""
    links: list[LinkRow]
    cases: list[CaseRow]


def make_analysis(arm: str, cases: Sequence[Case], *, bar: float, attempts_sha256: str, lost: int) -> Analysis:
    """Count and weigh. Raises ValueError without a case."""
    if not cases:
        raise ValueError(f"arm {arm} has no attempt to analyse")
    failed = [case for case in cases if case.attribution.standing is not Standing.NONE]
    return Analysis(
        arm=arm,
        attempts_sha256=attempts_sha256,
        bar=bar,
        k_score=_k(cases, mending=None),
        attempts=len(cases),
        failed=len(failed),
        undecided=sum(case.attribution.standing is Standing.UNDECIDED for case in failed),
        lost=lost,
        links=[_link_row(link, cases, failed=len(failed)) for link in Link],
        cases=[_case_row(case) for case in failed],
    )


def _link_row(link: Link, cases: Sequence[Case], *, failed: int) -> LinkRow:
    own = [case for case in cases if case.attribution.link is link]
    gains = [
        100.0 * (k_score(mended) - k_score(case.own)) for case in own if (mended := case.attribution.mended) is not None
    ]
    return LinkRow(
        link=link,
        attempts=len(own),
        also=sum(link in case.attribution.also for case in cases),
        share=len(own) / failed if failed else 0.0,
        lost=fmean(gains) if gains else None,
        rise=_k(cases, mending=link) - _k(cases, mending=None),
    )


def _k(cases: Sequence[Case], *, mending: Link | None) -> float:
    """K of the arm, 0..100, with one link mended."""
    verdicts = [
        mended if mending is not None and one.link is mending and (mended := one.mended) is not None else case.own
        for case in cases
        for one in (case.attribution,)
    ]
    return 100.0 * aggregate(verdicts).k_score


def _case_row(case: Case) -> CaseRow:
    found = case.attribution
    return CaseRow(
        task=case.task_id,
        seed=case.seed,
        outcome=case.outcome,
        offset=case.offset,
        link=found.link,
        also=list(found.also),
        why=found.why,
        complaints=list(found.complaints),
        k=100.0 * k_score(case.own),
        mended_k=None if found.mended is None else 100.0 * k_score(found.mended),
    )


_HEADINGS = ("link", "attempts", "of failed", "also", "K lost each", "arm's K would rise")


def render(analysis: Analysis) -> str:
    """The table as aligned text."""
    lines = aligned(_HEADINGS, [_cells(row) for row in analysis["links"]])
    head = (
        f"{analysis['arm']}: K {analysis['k_score']:.2f}, {analysis['failed']} of {analysis['attempts']} attempts have a "
        f"complaint (below {analysis['bar']:g}), {analysis['undecided']} undecided, {analysis['lost']} lost"
    )
    return "\n".join([head, *lines])


def _cells(row: LinkRow) -> tuple[str, ...]:
    lost = "-" if row["lost"] is None else f"{row['lost']:+.2f}"
    return (row["link"], str(row["attempts"]), f"{row['share']:.0%}", str(row["also"]), lost, f"{row['rise']:+.2f}")
