"""A published benchmark: whose rows, which pictures, which judge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gen_searcher.config.base import Config
from gen_searcher.config.plug import Plug

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=60)]
"""Of an arm: it becomes part of file names."""


class BenchmarkConfig(Config):
    """What `bench` evaluates instead of the run's held-out tasks."""

    kind: Literal["knowgen", "wise-legacy", "wise-verified"]
    """Whose file formats and whose arithmetic. WISE's two conventions are two benchmarks."""
    rows: tuple[Path, ...] = ()
    """The benchmark's published files. May be empty where the files below hold the rows themselves (KnowGen)."""
    drawn: Mapping[Name, Path] = {}
    """Further arms, by name, whose pictures are there already: KnowGen's picture results, or WISE's folder of
    `PROMPT_ID.png`. Only judged; no agent and no generator run for them."""
    groundings: Mapping[Name, Path] = {}
    """Further arms, by name, that somebody else's agent searched for: results with `gen_prompt` and
    `reference_images`. Drawn with the run's generator, then judged."""
    scored: Mapping[Name, Path] = {}
    """Further arms, by name, that are judged already: KnowGen's judged results, or WISE's score lines. Only counted;
    how a run is compared with an earlier one."""
    judge: Plug | None = None
    """Who judges; None = the run's `image` judge."""
    ungrounded: Literal["failed", "request"] = "failed"
    """What becomes of a search that ends without a grounding: a failed row, or the request is drawn as it is, as the
    reference's scripts do."""
    tries: int = Field(default=3, ge=1)
    """How often a row is tried before it counts as failed; what a try got done is not done again."""
