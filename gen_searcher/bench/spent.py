"""What attempts took and cost, as far as it was recorded -> seconds and USD per attempt.

    agent      the completions, each with its wait for the engine, and the tool calls between them
    drawing    the picture, with its wait for the generator; nothing for one that was not asked for
    judging    the slowest verdict: judges work beside each other. Without the wait for a free worker.

Seconds are medians over the attempts that know all of theirs, USD are means over all attempts. What lost tries took is in
neither. Nothing unknown is 0: a turn, a new picture or a verdict without a time is not recorded, and a part that cost
nothing in all attempts has no known price, unless those who were asked are known to ask nobody outside (`free`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from statistics import median
from typing import Literal

from gen_searcher.drawing import DrawnHow
from gen_searcher.types import Attempt

Part = Literal["agent", "drawing", "judging"]
PARTS: tuple[Part, ...] = ("agent", "drawing", "judging")
PAID_TO: dict[Part, str] = {"agent": "tools", "drawing": "pictures", "judging": "judges"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one part of an attempt took."""

    seconds: float | None = 0.0
    """None when it was not recorded."""
    usd: float = 0.0
    """As recorded."""
    asked: bool = False
    """Somebody was asked who may have a price: a tool, a generator, a judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one attempt took."""

    agent: Share
    drawing: Share
    judging: Share

    @property
    def seconds(self) -> float | None:
        """Of the parts one after another; None when one of them is not known."""
        return _sum([self.agent.seconds, self.drawing.seconds, self.judging.seconds])

    @property
    def usd(self) -> float:
        """As recorded."""
        return math.fsum([self.agent.usd, self.drawing.usd, self.judging.usd])


@dataclass(frozen=True, slots=True, kw_only=True)
class PerAttempt:
    """Of one arm; None is unknown."""

    seconds: float | None
    seconds_of: dict[Part, float | None]
    usd: float | None
    usd_of: dict[Part, float | None]
    attempts: int
    """Over which USD are averaged."""

    @property
    def total_usd(self) -> float | None:
        """Of all attempts together."""
        return None if self.usd is None else self.usd * self.attempts


def spent(attempt: Attempt) -> Spent:
    """The record of one attempt."""
    return Spent(agent=_agent(attempt), drawing=_drawing(attempt), judging=_judging(attempt))


def per_attempt(records: Sequence[Spent], *, free: Set[Part] = frozenset()) -> PerAttempt:
    """The figures of an arm; `free` are the parts in which nobody is asked who has a price."""
    usd_of: dict[Part, float | None] = {
        part: _mean_usd([_share(one, part) for one in records], is_free=part in free) for part in PARTS
    }
    return PerAttempt(
        seconds=_median([one.seconds for one in records]),
        seconds_of={part: _median([_share(one, part).seconds for one in records]) for part in PARTS},
        usd=_sum(list(usd_of.values())),
        usd_of=usd_of,
        attempts=len(records),
    )


def _agent(attempt: Attempt) -> Share:
    turns = attempt.trajectory.turns
    results = [turn.result for turn in turns if turn.result is not None]
    timed = all(turn.latency_s > 0.0 for turn in turns)
    took_s = math.fsum(turn.latency_s for turn in turns) + math.fsum(result.latency_s for result in results)
    usd = math.fsum(result.cost_usd for result in results)
    return Share(seconds=took_s if timed else None, usd=usd, asked=bool(results))


def _drawing(attempt: Attempt) -> Share:
    drawing = attempt.drawing
    if drawing is None:
        there = attempt.image is not None  # drawn by somebody who wrote no record
        return Share(seconds=None if there else 0.0, asked=there)
    asked = drawing.how in (DrawnHow.DRAWN, DrawnHow.REFUSED)
    known = drawing.latency_s > 0.0 or not asked
    return Share(seconds=drawing.latency_s if known else None, usd=drawing.cost_usd, asked=asked)


def _judging(attempt: Attempt) -> Share:
    judgements = attempt.judgements
    usd = math.fsum(judgement.cost_usd for judgement in (*judgements, *attempt.shadow))
    timed = all(judgement.latency_s > 0.0 for judgement in judgements)
    slowest_s = max((judgement.latency_s for judgement in judgements), default=0.0)
    return Share(seconds=slowest_s if timed else None, usd=usd, asked=bool(judgements))


def _share(one: Spent, part: Part) -> Share:
    match part:
        case "agent":
            return one.agent
        case "drawing":
            return one.drawing
        case "judging":
            return one.judging


def _mean_usd(shares: Sequence[Share], *, is_free: bool) -> float | None:
    if not shares:
        return None
    total = math.fsum(share.usd for share in shares)
    asked = any(share.asked for share in shares)
    return total / len(shares) if total or is_free or not asked else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
