"""How the learner turns a batch into a weight change."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config

Frozen = Literal["vision", "projector"]


class LoraConfig(Config):
    """Low-rank adapters: only they are trained; published and exported weights have them merged in."""

    rank: int = Field(default=16, gt=0)
    """Inner width of an adapter."""
    alpha: float = Field(default=32.0, gt=0)
    """Factor on an adapter's output, times 1 / rank."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear layers of the language model that get an adapter."""


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
    warmup_frac: float = Field(default=0.0, ge=0, lt=1)
    """The same as a share of `total_steps`; the longer of the two counts."""
    total_steps: int = Field(default=0, ge=0)
    """Steps of the whole run, for `cosine` and `warmup_frac`; the commands know it and set it."""
    min_lr_frac: float = Field(default=0.1, ge=0, le=1)
    """What a cosine schedule ends at, as a fraction of `lr`."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest L2 norm of the gradient; a longer one is scaled down."""
    backend: Literal["deepspeed", "fsdp2"] = "deepspeed"
    """Who shards over the learner's ranks; `fsdp2` is PyTorch's own, and shards as much as ZeRO 3."""
    zero_stage: Literal[1, 2, 3] = 1
    """DeepSpeed ZeRO: 1 shards optimizer states, 2 also gradients, 3 also weights; `fsdp2` does not read it."""
    offload_optimizer: bool = False
    """Keep optimizer state, float32 weights and the update itself in host memory: 12 of 18 bytes per weight leave the
    device, for a slower step. On GPUs with `fsdp2` not yet."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of weights and activations; the softmax over the vocabulary, optimizer state and its copy of the weights are
    float32 either way. A model of a few million weights on a CPU is better off with `float32`."""
    freeze: tuple[Frozen, ...] = ()
    """Parts of the policy that do not learn: the vision tower, its projectors. With both frozen each picture goes
    through the tower once, and its features are kept."""
    feature_cache_mib: int = Field(default=1024, ge=0)
    """Most host memory of one rank for features of a frozen tower [MiB]; a picture of 400 x 400 px takes 4.6 MiB of
    an 8B policy in bfloat16."""
    lora: LoraConfig | None = None
    """Train adapters instead of the weights; null trains the weights."""
    row_tokens: int = Field(default=4096, gt=0)
    """Most tokens of a packed row, which is one micro-batch; vision tokens count."""
    chunk_tokens: int = Field(default=256, gt=0)
    """Tokens whose vocabulary logits exist at a time."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a quarter more work."""
    threads: int = Field(default=1, gt=0)
    """Compute threads of one rank."""

    @property
    def has_frozen_tower(self) -> bool:
        """Nothing of the vision tower learns, its projectors neither."""
        return self.lora is not None or {"vision", "projector"} <= set(self.freeze)

    def lr_at(self, step: int) -> float:
        """Learning rate of the update that follows `step` finished updates."""
        warmup_steps = max(self.warmup_steps, math.ceil(self.warmup_frac * self.total_steps))
        if step < warmup_steps:
            return self.lr * (step + 1) / warmup_steps
        if self.schedule == "constant":
            return self.lr
        span = max(1, self.total_steps - warmup_steps)
        done = min(1.0, (step - warmup_steps) / span)
        return self.lr * (self.min_lr_frac + (1.0 - self.min_lr_frac) * 0.5 * (1.0 + math.cos(math.pi * done)))
