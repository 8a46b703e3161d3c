"""What was asked, what was paid, and what it cost: counted where it happens, taken once per step.

A `Meter` belongs to a worker. A `Tab` belongs to one tool call: whoever is first to ask for something pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from gen_searcher.metrics.values import Max, Sum

Reading = Mapping[str, Sum | Max]
"""Metric name to what was counted since the last reading."""


class Meter:
    """Counts of one worker."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._counts: dict[str, float] = {}
        self._gauges: dict[str, list[Callable[[], float]]] = {}

    def add(self, name: str, amount: float = 1.0) -> None:
        """Count `amount` under `name`."""
        self._counts[name] = self._counts.get(name, 0.0) + amount

    def watch(self, name: str, gauge: Callable[[], float]) -> None:
        """Read `gauge` at every `take`; of several under one name, and over workers, the largest counts."""
        self._gauges.setdefault(name, []).append(gauge)

    def take(self) -> Reading:
        """Everything since the last take; a name that was once counted stays, with 0."""
        counted = {name: Sum(total=count) for name, count in self._counts.items()}
        self._counts = dict.fromkeys(self._counts, 0.0)
        return {**counted, **{name: Max.of(gauge() for gauge in gauges) for name, gauges in self._gauges.items()}}


def merged(readings: Iterable[Reading]) -> Reading:
    """The readings of several workers as one."""
    whole: dict[str, Sum | Max] = {}
    for reading in readings:
        for name, part in reading.items():
            before = whole.get(name)
            match before, part:
                case Sum(), Sum():
                    whole[name] = before + part
                case Max(), Max():
                    whole[name] = before + part
                case _:
                    whole[name] = part
    return whole


@dataclass(slots=True, kw_only=True)
class Tab:
    """What one tool call has cost so far."""

    paid_calls: int = 0
    replayed_calls: int = 0
    retries: int = 0
    """Requests made again because one had failed. Who waits for what another call has asked for counts none of them."""
    usd: float = 0.0


_TAB: ContextVar[Tab | None] = ContextVar("tab", default=None)


@contextmanager
def opened_tab() -> Generator[Tab]:
    """A tab for what is begun inside the block, tasks included."""
    tab = Tab()
    token = _TAB.set(tab)
    try:
        yield tab
    finally:
        _TAB.reset(token)


def pay(usd: float) -> None:
    """Put the price of one request on the tab that is open, if there is one."""
    tab = _TAB.get()
    if tab is not None:
        tab.usd += usd


def go_out() -> None:
    """Put one call to the outside on the tab that is open, if there is one."""
    tab = _TAB.get()
    if tab is not None:
        tab.paid_calls += 1


def replay() -> None:
    """Put one replayed call on the tab that is open, if there is one."""
    tab = _TAB.get()
    if tab is not None:
        tab.replayed_calls += 1


def try_again() -> None:
    """Put one more request for what a failed one did not bring on the tab that is open, if there is one."""
    tab = _TAB.get()
    if tab is not None:
        tab.retries += 1
