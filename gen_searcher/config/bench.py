"""The benchmark: the same held-out tasks for every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from gen_searcher.config.adversity import AdversityConfig
from gen_searcher.config.benchmark import BenchmarkConfig
from gen_searcher.config.sampling import SamplingConfig

Arm = Literal["no-search", "untrained", "sft", "sft+grpo"]
"""`no-search` hands the request to the generator as it is; the others search with that policy of the run."""


class BenchConfig(SamplingConfig):
    """What is compared, and on how much."""

    suite: Literal["heldout", "knowgen-mini"] = "heldout"
    """Which tasks: the run's held-out ones, or the frozen benchmark that ships with the package."""
    name: str = Field(default="", pattern=r"^[a-z0-9_-]*$")
    """Folder below `bench/` where the results go, so that two benches of one run (with another generator, say) do not
    overwrite each other. Empty: as the suite is called."""
    tasks: int | None = Field(default=None, ge=1)
    """How many of them, the first ones of the file; None = all."""
    arms: tuple[Arm, ...] = ("no-search", "untrained", "sft", "sft+grpo")
    """Columns of the table, in this order. Empty when `benchmark` alone names what is scored."""
    benchmark: BenchmarkConfig | None = None
    """A published benchmark, e.g. by `benchmark=knowgen`; None = the run's held-out tasks."""
    samples: int = Field(default=1, ge=1)
    """Attempts per task and arm; the table shows their mean."""
    temperature: float = Field(default=0.6, ge=0.0)
    """Sampling temperature; 0 = always the likeliest token."""
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Sample from the likeliest tokens that together have this share of the probability; 1 = all."""
    adversity: Mapping[str, AdversityConfig] = {}
    """Settings of the embedded world's dial by name: each arm is measured at each of them, and compared with the first.
    Empty: once, as `search.adversity` says."""
