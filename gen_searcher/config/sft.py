"""Supervised fine-tuning on demonstrations."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from gen_searcher.config.base import Config
from gen_searcher.config.optim import OptimConfig


class SftConfig(Config):
    """How the policy learns the format and the habits before reinforcement learning."""

    demonstrations: Path | None = None
    """JSONL of demonstrations; None = the embedded world's scripted teacher works the training tasks."""
    demonstration_count: int = Field(default=400, ge=1)
    """Demonstrations that the teacher makes; ignored when `demonstrations` is a file."""
    oversearch: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of the teacher's demonstrations with a superfluous search."""
    first_picture: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of its picture choices that are simply the first one found."""
    forgets_caption: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of its answers that leave out the caption. With the two above: the plain flaws of a real teacher, which
    the student learns too, and which reinforcement learning has to mend."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the demonstrations."""
    batch_samples: int = Field(default=16, ge=1)
    """Demonstrations per optimizer step, over all ranks."""
    optim: OptimConfig = OptimConfig()
    """Optimizer and packing."""
