"""How new weights travel from the learner to the engines."""

from __future__ import annotations

from typing import Literal

from gen_searcher.config.base import Config

WeightPlace = Literal["auto", "shared_memory", "run_dir"]


class WeightsConfig(Config):
    """The way of published weights."""

    place: WeightPlace = "auto"
    """Where a published file lies. `shared_memory`: /dev/shm, for learner and engines on one node; refused when the
    cluster has more nodes or the room is too small. `run_dir`: the run directory, which all nodes share. `auto`:
    shared memory when it can be used and no node can join (`cluster.address=local`), else the run directory; the log says
    which and why."""
