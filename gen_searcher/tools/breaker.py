"""When a provider is left alone: a run of failures opens the breaker, one request looks whether it is back."""

from __future__ import annotations

import math

from gen_searcher.config.limits import BreakerConfig

PROBE_S = 1.0
"""Seconds after which somebody who waits for a probe looks again."""


class Breaker:
    """Closed, open or half open. Times are seconds of one clock that never goes back."""

    def __init__(self, config: BreakerConfig) -> None:
        """Closed."""
        self._config = config
        self._failures = 0
        self._open_until_s = -math.inf
        self._probe_since_s = -math.inf

    @property
    def is_open(self) -> bool:
        """The provider counts as down, a probe may be under way."""
        return self._failures >= self._config.failures

    def enter(self, now_s: float) -> float:
        """0 to go on; otherwise seconds to wait before asking again. The first after a wait is the probe."""
        if not self.is_open:
            return 0.0
        if now_s < self._open_until_s:
            return self._open_until_s - now_s
        if now_s < self._probe_since_s + self._config.open_s:
            return min(PROBE_S, self._config.open_s)
        self._probe_since_s = now_s
        return 0.0

    def answered(self) -> None:
        """The provider answered, if only to decline."""
        self._failures = 0
        self._probe_since_s = -math.inf

    def failed(self, now_s: float) -> None:
        """The provider did not do its job."""
        self._failures += 1
        if self.is_open:
            self._open_until_s = now_s + self._config.open_s
            self._probe_since_s = -math.inf
