"""How the policy is sampled: the same four settings for training, benchmark and inference."""

from __future__ import annotations

from pydantic import Field

from gen_searcher.config.base import Config


class SamplingConfig(Config):
    """What a token is drawn from; the filters cut the softmax at the sampling temperature."""

    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature; 0 = always the likeliest token. The paper trains with 0.7 and a `top_p` of 0.95."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the likeliest tokens that together have this share of the probability; 1 = all."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample from this many of the likeliest tokens; None = all."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Sample from the tokens with at least this share of the likeliest one's probability; 0 = all."""
