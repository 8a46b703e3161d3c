"""Group-relative policy optimization."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

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


class TailConfig(Config):
    """When the last members of a group are given up, so that no step waits for them."""

    members: int = Field(ge=2)
    """Attempts of a group that must have ended."""
    wait_s: float = Field(ge=0)
    """How long the others still have then [s]."""


class CurriculumConfig(Config):
    """Visit tasks whose groups have nothing to teach less often. Every epoch draws anew, from what its run has booked."""

    last_groups: int = Field(default=4, ge=1)
    """Groups of a task that count, the latest ones. With n of them, of which s had something to teach, an epoch visits
    the task with probability (s + 1) / (n + 1), and every task that was never visited."""
    min_share: float = Field(default=0.1, gt=0, le=1)
    """Lowest probability that an epoch visits a task, so that one which was too hard gets another chance."""


class OversampleConfig(Config):
    """Start more than is needed and take what is complete first. It biases: what takes long is trained on less."""

    groups: int = Field(default=0, ge=0)
    """Groups of a step that may be too late: so many more are under way, and when a step has all it needs, up to so many
    that would be too old for the next one are not waited for. They are booked as rejected, with what ended of them."""
    members: int = Field(default=0, ge=0)
    """Attempts that a group starts beyond `group_size`; when so many are scored as it needs, the others are given up and
    recorded as lost at stage `cut_off`. Not together with `tail` or `pictures.only_useful`."""


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
    attempts_in_flight: int | None = Field(default=None, ge=1)
    """Attempts under way at once, from the search to the last verdict; null = as many as the groups have that
    `max_staleness` allows. With a bound the members of older groups go first and a group is no older than its first
    attempt: steps wait less for stragglers. Sensible: what the engines serve at full speed, plus what is drawn and judged
    meanwhile; `gen-searcher plan` tries it out. A group that is let in may pass it by its other members."""
    tail: TailConfig | None = None
    """Give up the last members of a group; they are recorded as lost at stage `cut_off`, which is no outage. It biases:
    what takes long is trained on less. null waits for every member. Not together with `pictures.only_useful`."""
    oversample: OversampleConfig = OversampleConfig()
    """Start more groups or attempts than are needed; none by default."""
    curriculum: CurriculumConfig | None = None
    """Difficulty-aware order of tasks; null visits every task once per epoch. It matters from the second epoch on."""
    drop_flat_groups: bool = True
    """Pass over groups whose attempts all earned the same, and run other tasks instead. false takes them into the step:
    they have no gradient of the reward but count in what the loss is averaged over. With k of n groups flat the other n - k
    alone make the step's gradient, divided as for all n; with `objective.kl.coefficient` the flat ones add that term's."""
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

    @model_validator(mode="after")
    def _options_fit(self) -> GrpoConfig:
        if self.tail is not None and self.pictures.only_useful:
            raise ValueError(
                "tail: with pictures.only_useful=true the members of a group wait for each other; drop one of them"
            )
        if self.tail is not None and self.tail.members >= self.group_size:
            raise ValueError(f"tail.members: a group has {self.group_size} members; write fewer than that")
        if self.oversample.members and (self.tail is not None or self.pictures.only_useful):
            raise ValueError("oversample.members: drop it, or tail and pictures.only_useful")
        return self
