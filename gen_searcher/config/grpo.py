"""Group-relative policy optimization."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config
from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.config.optim import OptimConfig


class PicturesConfig(Config):
    """Which pictures are drawn, and with which seeds."""

    seeds: Literal["member", "task"] = "member"
    """`member`: each attempt's picture has a seed of its own. `task`: all attempts at a task are drawn with one seed, so
    that equal groundings give equal pictures and attempts differ by what the policy wrote, not by the noise."""
    only_useful: bool = False
    """Wait for the searches of a whole group, ask the judges that need no picture first, then draw only what can move the
    policy: a grounding once per group, nothing for a group that cannot teach. Every saving is recorded in the attempt.
    With `seeds: task` the advantages of trained groups are those of drawing everything."""
    samples: int = Field(default=1, ge=1)
    """Pictures per grounding, each with a seed of its own. The image judge's mean over them is the score, and the metric
    `image/score_variance` says how much of a reward is the luck of one picture. n pictures cost n times as much."""


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
    drop_flat_groups: bool = True
    """Pass over groups whose attempts all earned the same, and run other tasks instead; false trains on them too,
    which changes nothing but the time a step takes."""
    max_logprob_gap_nats: float | None = Field(default=None, gt=0)
    """Most that the log-probability of one sampled token may differ between the engine and the learner [nats]. Looked
    at before the first step of a run and, when `max_staleness` is 0, in every step; beyond it the run stops. null only
    reports it. Sensible: 0.001 when both sides are float32 (measured: below 1e-4), 0.5 for an engine in bfloat16, whose
    rounding alone moves single tokens by some tenths."""
    checkpoint_every_steps: int = Field(default=10, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Checkpoints that stay, the latest ones. `replay` steps from the nearest one before the step it is asked for."""
    lost_retries: int = Field(default=2, ge=0)
    """Further tries for an attempt that the world spoiled, with the same seed, before its group does without it."""
    pictures: PicturesConfig = PicturesConfig()
    """Which pictures are drawn, and with which seeds."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What a step optimises: how attempts are compared, and the loss."""
    optim: OptimConfig = OptimConfig()
    """Optimizer and packing."""
