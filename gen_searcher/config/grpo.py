"""Group-relative policy optimization."""

from __future__ import annotations

from pydantic import Field

from gen_searcher.config.base import Config
from gen_searcher.config.optim import OptimConfig


class GrpoConfig(Config):
    """The main loop: how much of what per step."""

    steps: int = Field(default=100, ge=0)
    """Optimizer steps in all; a resumed run counts those it already made."""
    groups_per_step: int = Field(default=8, ge=1)
    """Groups with something to teach that one step learns from."""
    group_size: int = Field(default=8, ge=2)
    """Attempts per task."""
    max_staleness: int = Field(default=1, ge=0)
    """Publishes that a group may lag behind when it is trained on; 0 = synchronous and on policy."""
    eval_every_steps: int = Field(default=10, ge=0)
    """Steps between evaluations on held-out tasks; 0 = never."""
    eval_tasks: int = Field(default=16, ge=1)
    """Held-out tasks per evaluation."""
    checkpoint_every_steps: int = Field(default=10, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    lost_retries: int = Field(default=2, ge=0)
    """Fresh tries for an attempt that the world spoiled, each with a new seed, before its group does without it."""
    optim: OptimConfig = OptimConfig()
    """Optimizer, loss and packing."""
