"""Inference: one request in, one picture out."""

from __future__ import annotations

from pydantic import Field

from gen_searcher.config.sampling import SamplingConfig


class GenerateConfig(SamplingConfig):
    """What to draw, and how to sample on the way."""

    prompt: str | None = None
    """The request in plain words; also the bare argument of `gen-searcher generate`."""
    temperature: float = Field(default=0.6, ge=0.0)
    """Sampling temperature; 0 = always the likeliest token."""
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Sample from the likeliest tokens that together have this share of the probability; 1 = all."""
