"""The benchmark: the same held-out tasks for every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from gen_searcher.config.adversity import AdversityConfig
from gen_searcher.config.base import Config
from gen_searcher.config.benchmark import BenchmarkConfig, Name
from gen_searcher.config.plug import TARGET_KEY, Plug
from gen_searcher.config.sampling import SamplingConfig

Arm = Literal["no-search", "untrained", "sft", "sft+grpo"]
"""`no-search` hands the request to the generator as it is; the others search with that policy of the run."""


def _unwrapped(value: object) -> object:
    """The generator of a file of `conf/generator`, which may also set what the policy is told; here it is told the same."""
    if not isinstance(value, Mapping):
        return value
    given = cast("Mapping[str, object]", value)
    return given["generator"] if TARGET_KEY not in given and "generator" in given else given


class AnalysisConfig(Config):
    """What `bench analysis` asks of attempts that `bench` has made."""

    arms: tuple[str, ...] = ()
    """Whose attempts are analysed; empty = those of every arm that has some."""
    bar: float = Field(default=0.6, gt=0.0, le=1.0)
    """A picture fails when faithfulness, visual correctness or text accuracy is below it, 0..1. Half of the right answer
    (one of two pictures, the right picture in the wrong look) is a failure."""


class BenchConfig(SamplingConfig):
    """What is compared, and on how much."""

    suite: Literal["heldout", "knowgen-mini"] = "heldout"
    """Which tasks: the run's held-out ones, or the frozen benchmark that ships with the package."""
    name: str = Field(default="", pattern=r"^[a-z0-9_-]*$")
    """Folder below `bench/` where the results go, so that two benches of one run (with another generator, say) do not
    overwrite each other. Empty: as the suite is called."""
    tasks: int | None = Field(default=None, ge=1)
    """How many of them, chosen by their ids, so that every arm has the same ones, and more of them add to fewer; None = all."""
    arms: tuple[Arm, ...] = ("no-search", "untrained", "sft", "sft+grpo")
    """Columns of the table, in this order. Empty when `benchmark` alone names what is scored."""
    benchmark: BenchmarkConfig | None = None
    """A published benchmark, e.g. by `benchmark=knowgen`; None = the run's held-out tasks."""
    samples: int = Field(default=1, ge=1)
    """Attempts per task and arm; the table shows their mean. A picture that is there already (`benchmark.drawn`) is judged
    once."""
    temperature: float = Field(default=0.6, ge=0.0)
    """Sampling temperature; 0 = always the likeliest token."""
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Sample from the likeliest tokens that together have this share of the probability; 1 = all."""
    adversity: Mapping[str, AdversityConfig] = {}
    """Settings of the embedded world's dial by name: each arm is measured at each of them, and compared with the first.
    Empty: once, as `search.adversity` says."""
    generators: Mapping[Name, Annotated[Plug, BeforeValidator(_unwrapped)]] = {}
    """Generators by name: each arm's searches, made once, are drawn by each of them, and compared with the first. A policy
    is promised `agent.max_references` whatever they take; what a generator cannot take is cut off. Empty: the run's."""
    analysis: AnalysisConfig = AnalysisConfig()
    """Why attempts failed."""

    @model_validator(mode="after")
    def _sweeps_one_thing(self) -> Self:
        if self.adversity and self.generators:
            raise ValueError("adversity and generators are two sweeps; set one of them")
        if self.generators and self.benchmark is not None:
            raise ValueError("generators are swept on the run's own tasks or a suite, not on a published benchmark")
        return self
