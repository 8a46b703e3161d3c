"""The numbers of a run as Ray metrics, which every node's agent exports for Prometheus."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from ray.util.metrics import Gauge

from gen_searcher.metrics.trackers.run_info import RunInfo

log = logging.getLogger(__name__)

PREFIX = "gen_searcher_"
"""Of every name; Ray puts `ray_` before it."""
MOST_NAMES = 300
"""A step has about a hundred numbers. More names than this are a judge's or a tool's mistake, and Prometheus pays for each."""


class RayMetrics:
    """A `Tracker`: one gauge per number, with the run's id as its only label. Values last as long as the driver."""

    def __init__(self, *, run: RunInfo) -> None:
        """`run` is the label; needs a Ray session, which the commands have when they build their trackers."""
        self._run = run.id
        self._gauges: dict[str, Gauge] = {}
        self._is_full = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Set every gauge; `gen_searcher_step` says which step it is."""
        for name, value in {"step": float(step), **values}.items():
            gauge = self._gauge(name)
            if gauge is not None:
                gauge.set(value, tags={"run": self._run})

    def close(self) -> None:
        """Nothing to close."""

    def _gauge(self, name: str) -> Gauge | None:
        if name not in self._gauges:
            if len(self._gauges) == MOST_NAMES:
                if not self._is_full:
                    log.warning("more than %d different numbers: %s and later ones are not exported", MOST_NAMES, name)
                self._is_full = True
                return None
            self._gauges[name] = Gauge(metric_name(name), description=name, tag_keys=("run",))
        return self._gauges[name]


def metric_name(name: str) -> str:
    """`reward/mean` -> `gen_searcher_reward_mean`."""
    return PREFIX + re.sub(r"[^a-zA-Z0-9_]", "_", name)
