"""Settings of the reward."""

from __future__ import annotations

from pydantic import Field

from gen_searcher.config.base import Config


class RewardConfig(Config):
    """How the judgements become one number."""

    alpha: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the text reward, 0 to 1: reward = (1 - alpha) * image + alpha * text. 0 trains on the picture alone,
    1 on the grounding alone."""
