"""When what was under way in a recorded run: how long and until when -> what each piece of work would have taken alone.

A latency was measured among others: of n jobs in a worker each goes at `StationKind.speed(n)`, and where all share the cores
of one machine every busy worker goes at `core_speed`. What a job would have taken alone is the integral of both over its time
in service. `plan.station` does the inverse with it.
"""

from __future__ import annotations

import bisect
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gen_searcher.plan.station import StationKind, core_speed

SLOWDOWNS = (0.0, *(10 ** (power / 12) for power in range(-36, 1)))
"""Tried by `fitted_slowdown`: nothing, and a thousandth to 1 in steps of a fifth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when something was under way."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Constant between two moments, 0 before the first one."""

    at_s: Sequence[float]
    values: Sequence[float]
    """From each moment to the next."""

    def value(self, at_s: float) -> float:
        """There."""
        found = bisect.bisect_right(self.at_s, at_s)
        return self.values[found - 1] if found else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpans:
    """What the workers of one role were asked, and how they work."""

    spans: Sequence[Span]
    kind: StationKind
    workers: int

    def served(self) -> PoolSpans:
        """Without the wait for a place: first come, first served."""
        places = self.kind.batch * self.workers
        order = sorted(range(len(self.spans)), key=lambda index: self.spans[index].start_s)
        found = list(self.spans)
        ends: list[float] = []
        for index in order:
            span = self.spans[index]
            if len(ends) >= places:
                found[index] = Span(start_s=min(span.end_s, max(span.start_s, ends[-places])), end_s=span.end_s)
            bisect.insort(ends, span.end_s)
        return replace(self, spans=found)

    def busy(self) -> Curve:
        """How many of its jobs were under way."""
        return under_way(self.spans)


def under_way(spans: Sequence[Span]) -> Curve:
    """How many of the spans hold a moment."""
    changes = sorted([(span.start_s, 1) for span in spans] + [(span.end_s, -1) for span in spans])
    return Curve(at_s=[at_s for at_s, _ in changes], values=list(itertools.accumulate(change for _, change in changes)))


def merged(spans: Sequence[Span]) -> list[Span]:
    """When any of them was under way."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start_s):
        if found and span.start_s <= found[-1].end_s:
            found[-1] = Span(start_s=found[-1].start_s, end_s=max(found[-1].end_s, span.end_s))
        elif span.end_s > span.start_s:
            found.append(span)
    return found


def shared_speed(pools: Sequence[PoolSpans], *, cores: float | None) -> Curve:
    """The speed at which the machine let every busy worker go."""
    if cores is None:
        return Curve(at_s=(float("-inf"),), values=(1.0,))
    jobs = [(pool.busy(), pool) for pool in pools if pool.kind.threads]
    at_s = sorted({moment for curve, _ in jobs for moment in curve.at_s})
    asked = [sum(min(curve.value(moment), pool.workers) * pool.kind.threads for curve, pool in jobs) for moment in at_s]
    return Curve(at_s=[float("-inf"), *at_s], values=[1.0, *(core_speed(cores, threads) for threads in asked)])


def alone_s(pool: PoolSpans, machine: Curve) -> list[float]:
    """What each of the spans, all of them in service, would have taken alone."""
    jobs = pool.busy()
    moments = sorted({*jobs.at_s, *(at_s for at_s in machine.at_s if at_s > float("-inf"))})
    done: dict[float, float] = {}
    total_s = 0.0
    for moment, following in itertools.pairwise([*moments, moments[-1]] if moments else []):
        done[moment] = total_s
        per_worker = max(1.0, jobs.value(moment) / pool.workers)
        total_s += (following - moment) * machine.value(moment) / (1.0 + pool.kind.slowdown * (per_worker - 1.0))
    return [done[span.end_s] - done[span.start_s] for span in pool.spans]


def fitted_slowdown(pool: PoolSpans, tokens: Sequence[int], machine: Curve) -> float:
    """The slowdown under which what turns would have taken alone goes most closely with their `tokens`.

    A step of an engine takes `a + c * requests` seconds and brings every request one token: alone a turn takes
    `tokens * (a + c)`, and its slowdown is `c / (a + c)`.
    """

    def closeness(slowdown: float) -> float:
        kind = replace(pool.kind, slowdown=slowdown)
        return statistics.correlation(alone_s(replace(pool, kind=kind), machine), [float(count) for count in tokens])

    return max(SLOWDOWNS, key=closeness)
