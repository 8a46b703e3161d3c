"""Settings of the cassette: outside answers, kept and given again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config

Kind = Literal["search", "image_search", "page", "summary", "picture", "drawing", "judgement"]
"""What can be asked outside; `picture` is one from the web, `drawing` one that the image model made."""


class CassetteConfig(Config):
    """Whether answers from outside are recorded or replayed."""

    mode: Literal["live", "record", "replay", "auto"] = "live"
    """`live` asks and keeps nothing; `record` asks and writes every answer down, over older ones; `replay` never asks,
    and an answer that is missing stops the run; `auto` replays what is there and records the rest."""
    path: Path | None = None
    """Folder of the cassette; null: `cassette` in the run directory. Its index needs file locks: a local disk, or a
    shared one that has them."""
    kinds: tuple[Kind, ...] | None = None
    """Which answers are kept; null: all. The others are asked live in every mode. `mode=auto kinds=[drawing]` with a
    `path` of its own is a cache of pictures that outlives the run: a drawing is told by the image model's class and
    settings, the prompt, the references' pixels and the seed. Weights that change in place need another path."""
    max_mib: float = Field(default=20_000.0, gt=0)
    """Size in MiB at which nothing more is recorded: `record` then stops the run, `auto` goes on without."""
