"""A run directory -> the cluster that it ran on: config/grpo.yaml, metrics.jsonl -> Shape.

A latency that was recorded holds the queues of the workers that there were, so those are needed to take them out again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gen_searcher.config import load
from gen_searcher.config.plan import PlanConfig
from gen_searcher.config.scale import MOST
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import read_metrics
from gen_searcher.plan.assume import configured_shape
from gen_searcher.plan.shape import Shape
from gen_searcher.train.run import RunFolder

LONGEST_BYTES = 1 << 20
"""Of a configuration; a longer file is something else."""
COUNTED: Mapping[str, str] = {
    "cluster/rollout_workers": "rollout_workers",
    "cluster/generator_workers": "generator_workers",
    "cluster/reward_workers": "reward_workers",
}
"""Metric of every step -> the setting that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedShape:
    """What a run ran on."""

    shape: Shape
    came_and_went: Mapping[str, range]
    """Settings of `cluster` whose workers were not as many in all steps: from the fewest to the most."""


def read_shape(folder: Path, plan: PlanConfig) -> RecordedShape:
    """The cluster and the step of the run in `folder`, whose workers serve as `plan` says.

    Workers are counted after every step (`gen-searcher scale`, deaths and nodes change their number); where a run has these
    counts their median is taken, otherwise the setting. Learner ranks and the sizes of a step are settings, those of its
    last start.

    Raises:
        ConfigError: The run's configuration is missing, cannot be read, or is none that this version understands.
    """
    path = load.written(folder, command="grpo")
    cfg = load.read(_text(path), source=f"plan.recorded: {path}")
    metrics = {one.name: one for one in read_metrics(RunFolder(root=folder).metrics, notes=[])}
    counts = {setting: _counts(metrics.get(name)) for name, setting in COUNTED.items()}
    usual = {setting: statistics.median_high(each) for setting, each in counts.items() if each}
    return RecordedShape(
        shape=configured_shape(plan, cfg.cluster.model_copy(update=usual), cfg.grpo),
        came_and_went={
            setting: range(min(each), max(each) + 1) for setting, each in counts.items() if len(set(each)) > 1
        },
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = file.read(LONGEST_BYTES + 1)
        if len(found) > LONGEST_BYTES:
            raise ConfigError(f"plan.recorded: {path} is too long for a configuration")
        return found.decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"plan.recorded: {path} is missing, which says on what the run ran; name a run directory of gen-searcher grpo"
        ) from None
    except OSError as error:
        raise ConfigError(f"plan.recorded: {path} cannot be read: {error.strerror}") from error
    except UnicodeError:
        raise ConfigError(f"plan.recorded: {path} is not UTF-8") from None


def _counts(series: Series | None) -> list[int]:
    """Of each step. None at all after a step: they were dead at that moment, and did not do its work like this."""
    values = () if series is None else series.values
    return [round(value) for value in values if math.isfinite(value) and 1.0 <= value <= MOST]
