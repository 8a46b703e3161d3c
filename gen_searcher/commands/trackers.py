"""The trackers of one stage of a run: settings -> one tracker that stops nothing."""

from __future__ import annotations

import re
from typing import cast

from gen_searcher.config.load import flat
from gen_searcher.config.root import RunConfig
from gen_searcher.metrics.trackers.fan_out import FanOut
from gen_searcher.metrics.trackers.run_info import RunInfo
from gen_searcher.protocols import Tracker


def open_trackers(cfg: RunConfig, *, stage: str) -> FanOut:
    """Build `cfg.trackers` for `sft` or `grpo`. One that cannot be built fails here, before the first step."""
    folder = cfg.run_dir.absolute()
    run = RunInfo(
        id=re.sub(r"[^A-Za-z0-9_-]", "-", f"{folder.name}-{stage}"),
        name=f"{folder.name} {stage}",
        folder=folder / "trackers",
        config=flat(cfg),
    )
    return FanOut({name: cast("Tracker", plug.build(run=run)) for name, plug in cfg.trackers.items()})
