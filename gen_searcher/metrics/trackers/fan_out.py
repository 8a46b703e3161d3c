"""Numbers -> every tracker, from a thread of its own: a tracker that throws or hangs never holds up training."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Mapping, Sequence

from gen_searcher.protocols import Tracker

log = logging.getLogger(__name__)

WAITING = 1000
"""Steps that may wait for a slow tracker; later ones are dropped for it, and counted."""
CLOSE_S = 20.0
"""Longest wait for the trackers at the end of a run."""
FAILURES = 5
"""In a row, after which a tracker is given up for the rest of the run."""


class FanOut:
    """One `Tracker` made of several."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        """`trackers` by the name that the log calls them."""
        self._lines = [_Line(name, tracker) for name, tracker in trackers.items()]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand the step to every tracker and return at once. Values that are not finite are left out."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for line in self._lines:
            line.put((step, finite))

    def close(self) -> None:
        """Let the trackers finish what waits, for `CLOSE_S` in all."""
        for line in self._lines:
            line.put(None)
        for line in self._lines:
            line.join(CLOSE_S / len(self._lines))

    @property
    def given_up(self) -> Sequence[str]:
        """Names of the trackers that failed too often."""
        return tuple(line.name for line in self._lines if line.is_given_up)


class _Line:
    """One tracker, its queue and its thread."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.is_given_up = False
        self._tracker = tracker
        self._queue: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def put(self, entry: tuple[int, Mapping[str, float]] | None) -> None:
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._dropped += 1
            if self._dropped == 1:
                log.warning("tracker %s is too slow: its numbers are dropped; metrics.jsonl has them all", self.name)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("tracker %s has not taken all numbers in time; metrics.jsonl has them all", self.name)

    def _work(self) -> None:
        failures = 0
        while (entry := self._queue.get()) is not None:
            if self.is_given_up:
                continue
            try:
                self._tracker.log(*entry)
                failures = 0
            except Exception:  # somebody else's code may raise anything, and none of it may stop training
                failures += 1
                log.exception("tracker %s failed at step %d; training goes on", self.name, entry[0])
                if failures == FAILURES:
                    self.is_given_up = True
                    log.warning("tracker %s failed %d times in a row and is given up", self.name, FAILURES)
        try:
            self._tracker.close()
        except Exception:  # as above
            log.exception("tracker %s could not be closed", self.name)
