"""Settings of the cassette: every outside answer, kept and given again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config


class CassetteConfig(Config):
    """Whether answers from outside are recorded or replayed."""

    mode: Literal["live", "record", "replay", "auto"] = "live"
    """`live` asks and keeps nothing; `record` asks and writes every answer down, over older ones; `replay` never asks,
    and an answer that is missing stops the run; `auto` replays what is there and records the rest."""
    path: Path | None = None
    """Folder of the cassette; null: `cassette` in the run directory. Its index needs file locks: a local disk, or a
    shared one that has them."""
    max_mib: float = Field(default=20_000.0, gt=0)
    """Size in MiB at which nothing more is recorded: `record` then stops the run, `auto` goes on without."""
