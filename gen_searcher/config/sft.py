"""Supervised fine-tuning on demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from gen_searcher.config.base import Config
from gen_searcher.config.optim import OptimConfig


class SftConfig(Config):
    """How the policy learns the format and the habits before reinforcement learning."""

    demonstrations: Path | None = None
    """A file of demonstrations; None = the embedded world's scripted teacher works the training tasks."""
    demonstrations_format: Literal["auto", "demonstrations", "sharegpt"] = "auto"
    """What `demonstrations` holds. `demonstrations`: our JSON lines. `sharegpt`: a JSON array or JSON lines of
    `messages` and `images` (data/sharegpt.py). `auto`: ShareGPT when it begins with an array or a line with `messages`."""
    export_sharegpt: Path | None = None
    """Also write the demonstrations to this ShareGPT file (`.jsonl`: lines, else an array), pictures beside it."""
    image_max_pixels: int = Field(default=160_000, ge=1024)
    """Largest picture of a ShareGPT file [px of area]; a larger one is scaled down."""
    max_tokens: int | None = Field(default=None, ge=64)
    """Longest sample [tokens], pictures expanded; None = `optim.row_tokens`. A sample is never cut."""
    overlong: Literal["refuse", "drop"] = "refuse"
    """What a longer sample leads to: the run is refused, or the sample is left out, counted and listed in
    `sft/dropped.jsonl`."""
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
    checkpoint_every_steps: int = Field(default=100, ge=1)
    """Steps between checkpoints, from which the same command goes on; they are deleted when the policy is written."""
    optim: OptimConfig = OptimConfig()
    """Optimizer and packing."""

    @property
    def cutoff_tokens(self) -> int:
        """Longest sample that is learned from."""
        return self.max_tokens or self.optim.row_tokens

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.cutoff_tokens > self.optim.row_tokens:
            raise ValueError(
                f"max_tokens={self.max_tokens} is more than optim.row_tokens={self.optim.row_tokens}, which holds a "
                "whole sample; raise optim.row_tokens"
            )
        return self
