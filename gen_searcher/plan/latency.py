"""How long one thing takes: distributions to draw seconds from."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Latency(Protocol):
    """A distribution of seconds."""

    def draw_s(self, rng: random.Random) -> float:
        """One value."""
        ...

    @property
    def mean_s(self) -> float:
        """What many values come to on average."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always the same."""

    seconds: float

    def draw_s(self, rng: random.Random) -> float:
        """That value."""
        del rng
        return self.seconds

    @property
    def mean_s(self) -> float:
        """That value."""
        return self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Heavy-tailed: with sigma 1 one value in a hundred is over ten times the median."""

    median_s: float
    sigma: float

    def draw_s(self, rng: random.Random) -> float:
        """`median * exp(sigma * normal)`."""
        return self.median_s * math.exp(self.sigma * rng.gauss(0.0, 1.0))

    @property
    def mean_s(self) -> float:
        """`median * exp(sigma^2 / 2)`."""
        return self.median_s * math.exp(self.sigma**2 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a run measured, drawn again with replacement."""

    seconds: Sequence[float]
    """At least one."""

    def draw_s(self, rng: random.Random) -> float:
        """One of them, each as likely as the others."""
        return rng.choice(self.seconds)

    @property
    def mean_s(self) -> float:
        """Their mean."""
        return math.fsum(self.seconds) / len(self.seconds)
