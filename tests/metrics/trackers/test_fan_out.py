from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

import pytest

from gen_searcher.metrics.trackers.fan_out import FAILURES, FanOut


class Kept:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.is_closed = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def close(self) -> None:
        self.is_closed = True


class Broken(Kept):
    def log(self, step: int, values: Mapping[str, float]) -> None:
        super().log(step, values)
        raise RuntimeError("the service is down")


class Stuck(Kept):
    def __init__(self, go_on: threading.Event) -> None:
        super().__init__()
        self._go_on = go_on

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._go_on.wait(60)
        super().log(step, values)


def test_every_tracker_gets_every_step_in_order() -> None:
    one, other = Kept(), Kept()
    trackers = FanOut({"one": one, "other": other})
    for step in range(1, 4):
        trackers.log(step, {"reward/mean": step / 10})
    trackers.close()
    assert one.rows == other.rows == [(1, {"reward/mean": 0.1}), (2, {"reward/mean": 0.2}), (3, {"reward/mean": 0.3})]
    assert one.is_closed


def test_a_number_that_is_none_is_not_sent() -> None:
    kept = Kept()
    trackers = FanOut({"kept": kept})
    trackers.log(1, {"a": float("nan"), "b": float("inf"), "c": 2.0})
    trackers.close()
    assert kept.rows == [(1, {"c": 2.0})]


def test_a_tracker_that_throws_is_given_up_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    broken, kept = Broken(), Kept()
    trackers = FanOut({"broken": broken, "kept": kept})
    with caplog.at_level(logging.WARNING):
        for step in range(FAILURES + 3):
            trackers.log(step, {"a": 1.0})
        trackers.close()
    assert len(broken.rows) == FAILURES
    assert len(kept.rows) == FAILURES + 3
    assert trackers.given_up == ("broken",)
    assert "the service is down" in caplog.text


def test_a_tracker_that_hangs_holds_nobody_up() -> None:
    go_on = threading.Event()
    stuck, kept = Stuck(go_on), Kept()
    trackers = FanOut({"stuck": stuck, "kept": kept})
    for step in range(5):
        trackers.log(step, {"a": 1.0})  # returns at once: the event is still unset
    assert stuck.rows == []
    go_on.set()
    trackers.close()
    assert len(stuck.rows) == len(kept.rows) == 5
