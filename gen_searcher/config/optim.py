"""How the learner turns a batch into a weight change."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config


class OptimConfig(Config):
    """One optimizer step per batch; AdamW with warm-up; packing."""

    lr: float = Field(default=1e-6, gt=0)
    """Learning rate after the warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's two running averages."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to AdamW's denominator."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Share of a weight that decays per step, times the learning rate."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate after the warm-up; `cosine` falls to `min_lr_frac` of it at `total_steps`."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises linearly."""
    total_steps: int = Field(default=0, ge=0)
    """Steps of the whole run; only `cosine` reads it."""
    min_lr_frac: float = Field(default=0.1, ge=0, le=1)
    """What a cosine schedule ends at, as a fraction of `lr`."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest L2 norm of the gradient; a longer one is scaled down."""
    zero_stage: Literal[1, 2, 3] = 1
    """DeepSpeed ZeRO: 1 shards optimizer states, 2 also gradients, 3 also weights."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and activations; optimizer state and its copy of the weights are float32 either way."""
    row_tokens: int = Field(default=4096, gt=0)
    """Most tokens of a packed row, which is one micro-batch; vision tokens count."""
    chunk_tokens: int = Field(default=512, gt=0)
    """Tokens whose vocabulary logits exist at a time."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a quarter more work."""
    threads: int = Field(default=1, gt=0)
    """Compute threads of one rank."""

    def lr_at(self, step: int) -> float:
        """Learning rate of the update that follows `step` finished updates."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        span = max(1, self.total_steps - self.warmup_steps)
        done = min(1.0, (step - self.warmup_steps) / span)
        return self.lr * (self.min_lr_frac + (1.0 - self.min_lr_frac) * 0.5 * (1.0 + math.cos(math.pi * done)))
