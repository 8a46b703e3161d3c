"""The chain from request to score, and what it means that a link of it is broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gen_searcher.rewards.verdict import FAITHFULNESS, TEXT_ACCURACY, VISUAL_CORRECTNESS

Parts = Mapping[str, float | None]
"""Dimension to 0..1; None where it does not apply."""

QUESTIONS = (FAITHFULNESS, VISUAL_CORRECTNESS, TEXT_ACCURACY)
"""Dimensions in which a picture can be wrong. Aesthetics is not one: an ugly picture of the right things is right."""


class Link(StrEnum):
    """One stage that can break, in the order in which they work."""

    SEARCH = "search"
    """A fact or a picture that was needed was never in an observation."""
    READING = "reading"
    """A fact was in an observation and was not used, or another one was."""
    SELECTION = "selection"
    """The right picture was shown and was not chosen."""
    GROUNDING = "grounding"
    """The evidence is right, the words or the order of the references are not, or no answer was handed in."""
    GENERATION = "generation"
    """The grounding is right, the picture is not."""
    JUDGING = "judging"
    """The picture is right and the judge says no, or judges disagree."""


CHAIN = tuple(Link)


def earliest(links: Iterable[Link]) -> Link:
    """The first of them in the chain."""
    return min(links, key=CHAIN.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken link that a trace shows."""

    link: Link
    why: str


class Swap(StrEnum):
    """What is replaced by the oracle's own before the picture is judged again. All are drawn with the attempt's seed."""

    PICTURE = "oracle picture"
    """The ground truth is judged; nothing is drawn."""
    GROUNDING = "oracle prompt and references"
    REFERENCES = "own prompt, oracle references"
    PROMPT = "oracle prompt, own references"


def complaints(parts: Parts, *, bar: float) -> frozenset[str]:
    """The questions that the verdict answers with less than `bar`; one that does not apply is no complaint."""
    return frozenset(name for name in QUESTIONS if (value := parts[name]) is not None and value < bar)
