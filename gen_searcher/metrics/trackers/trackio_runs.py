"""Trackio: a local dashboard of Weights & Biases' shape. Needs the package `trackio`."""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (an optional package)

from __future__ import annotations

from collections.abc import Mapping

import trackio

from gen_searcher.metrics.trackers.run_info import RunInfo


class TrackioTracker:
    """A run of a project in Trackio's own folder; read with `trackio show`."""

    def __init__(self, *, run: RunInfo, project: str = "gen_searcher") -> None:
        """Open the run, or go on in it. Nothing leaves this machine."""
        self._run = trackio.init(
            project=project,
            name=run.id,
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()
