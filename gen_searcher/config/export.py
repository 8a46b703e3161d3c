"""A policy for others."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from gen_searcher.config.base import Config


class ExportConfig(Config):
    """What `gen-searcher export` reads and writes."""

    folder: Path | None = None
    """Where the Hugging Face folder goes; it must not exist. Null: `exported-<N>` in the run directory."""
    step: int | None = Field(default=None, ge=1)
    """Which GRPO checkpoint; null takes the last complete one."""
    base: Path | None = None
    """Folder of the policy that the stage started from, if it has moved since; it holds what was not trained, and the
    tokenizer. Null: where the checkpoint says."""
