"""Values that know how to reduce: the same number comes out however the parts were split over workers and steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class Metric(Protocol):
    """A partial result."""

    @property
    def value(self) -> float | None:
        """The number; None when nothing was counted, so that it is left out and not shown as a zero."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Average of what was seen, with its spread."""

    total: float = 0.0
    squares: float = 0.0
    count: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Mean:
        """All of `values`."""
        seen = list(values)
        return cls(total=math.fsum(seen), squares=math.fsum(v * v for v in seen), count=len(seen))

    def __add__(self, other: Mean) -> Mean:
        """Both parts."""
        return Mean(
            total=self.total + other.total, squares=self.squares + other.squares, count=self.count + other.count
        )

    @property
    def value(self) -> float | None:
        """The mean."""
        return self.total / self.count if self.count else None

    @property
    def std(self) -> float | None:
        """Population standard deviation."""
        if not self.count:
            return None
        return math.sqrt(max(0.0, self.squares / self.count - (self.total / self.count) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A total; nothing sums to zero."""

    total: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Sum:
        """All of `values`."""
        return cls(total=math.fsum(values))

    def __add__(self, other: Sum) -> Sum:
        """Both parts."""
        return Sum(total=self.total + other.total)

    @property
    def value(self) -> float | None:
        """The total."""
        return self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Max:
    """The largest."""

    largest: float = -math.inf

    @classmethod
    def of(cls, values: Iterable[float]) -> Max:
        """All of `values`."""
        return cls(largest=max(values, default=-math.inf))

    def __add__(self, other: Max) -> Max:
        """Both parts."""
        return Max(largest=max(self.largest, other.largest))

    @property
    def value(self) -> float | None:
        """The largest value seen."""
        return None if self.largest == -math.inf else self.largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Fraction:
    """How many of how many."""

    hits: int = 0
    count: int = 0

    @classmethod
    def of(cls, claims: Iterable[bool]) -> Fraction:
        """How many of `claims` hold."""
        seen = list(claims)
        return cls(hits=sum(seen), count=len(seen))

    def __add__(self, other: Fraction) -> Fraction:
        """Both parts."""
        return Fraction(hits=self.hits + other.hits, count=self.count + other.count)

    @property
    def value(self) -> float | None:
        """The share, 0 to 1."""
        return self.hits / self.count if self.count else None


def numbers(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Name to number; metrics that counted nothing are left out."""
    return {name: value for name, metric in metrics.items() if (value := metric.value) is not None}
