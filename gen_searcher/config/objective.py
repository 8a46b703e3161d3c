"""What GRPO optimises: a published objective by its name, and each of its knobs by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, cast

from pydantic import Field, model_validator

from gen_searcher.config.base import Config
from gen_searcher.types import Outcome

ObjectiveName = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo"]
Aggregation = Literal["seq-mean-token-sum", "seq-mean-token-mean", "token-mean", "token-sum-norm"]
AdvantageScale = Literal["std", "none"]
Baseline = Literal["mean", "leave-one-out"]

PUBLISHED: Mapping[ObjectiveName, Mapping[str, object]] = {
    "grpo": {},
    "dr_grpo": {"advantage_scale": "none", "aggregation": "token-sum-norm", "clip_high": 0.2},
    "dapo": {"aggregation": "token-mean", "overlong_penalty": 1.0},
    "gspo": {"aggregation": "seq-mean-token-mean", "clip_low": 3e-4, "clip_high": 4e-4},
    "cispo": {"aggregation": "token-mean", "clip_low": 1.0, "clip_high": 4.0},
    "rloo": {
        "baseline": "leave-one-out",
        "advantage_scale": "none",
        "aggregation": "seq-mean-token-mean",
        "clip_high": 0.2,
    },
}
"""How each objective differs from the defaults below, which are those of the Gen-Searcher paper's GRPO.

`dr_grpo` https://arxiv.org/abs/2503.20783, `dapo` https://arxiv.org/abs/2503.14476, `gspo`
https://arxiv.org/abs/2507.18071, `cispo` https://arxiv.org/abs/2506.13585 (no lower bound; the upper one, which the paper
leaves open, at 5 in all), `rloo` https://arxiv.org/abs/2402.14740 with the ratio of whole sequences.
"""

AGGREGATIONS: Mapping[ObjectiveName, frozenset[Aggregation]] = {
    "gspo": frozenset({"seq-mean-token-mean", "seq-mean-token-sum"}),
    "rloo": frozenset({"seq-mean-token-mean"}),
}
"""What may average an objective whose ratio belongs to a sequence; the others take any.

`gspo` with `seq-mean-token-sum` weighs a sequence by its length."""

MASKED_OUTCOMES: Mapping[str, Mapping[str, object]] = {
    "none": {},
    "paper": {
        "outcomes": (Outcome.MALFORMED, Outcome.REPEATED, Outcome.OUT_OF_TURNS, Outcome.OUT_OF_TOKENS),
        "worthless": True,
        "counted": True,
    },
}


def _with_preset(data: object, *, key: str, default: str, presets: Mapping[str, Mapping[str, object]]) -> object:
    """What the preset says, under what was said; anything that is no preset is left for pydantic to refuse."""
    if not isinstance(data, Mapping):
        return data
    said = cast("Mapping[str, object]", data)
    return {**presets.get(str(said.get(key, default)), {}), **said}


class MasksConfig(Config):
    """Which attempts earn their reward but carry no gradient.

    Advantages are computed over all scored attempts of a group first: a masked attempt still moves the others'.
    """

    preset: Literal["none", "paper"] = "none"
    """`none`: every outcome teaches, failures of the policy too. `paper`: only attempts that ended in a grounding and
    earned something teach, and the divisor stays that of all attempts, as the reference implementation works."""
    outcomes: tuple[Outcome, ...] = ()
    """Outcomes without gradient."""
    worthless: bool = False
    """Whether attempts whose reward is zero are without gradient too."""
    counted: bool = False
    """Whether attempts without gradient count among the sequences that a loss is averaged over."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: object) -> object:
        return _with_preset(data, key="preset", default="none", presets=MASKED_OUTCOMES)


class KlConfig(Config):
    """Distance to the policy that training started from, as a term of the loss."""

    coefficient: float = Field(default=0.0, ge=0)
    """Factor of the term; 0 = no term, and no reference policy in memory."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """Per-token estimate of the divergence. The gradient of `k1` is zero on average when on policy: it only adds noise."""


class CorrectionConfig(Config):
    """Importance weights for the gap between the sampler's log-probabilities and the learner's at the start of a step."""

    mode: Literal["off", "truncate", "mask"] = "off"
    """`truncate` bounds a weight by `cap`; `mask` drops what lies outside [1 / cap, cap]."""
    level: Literal["token", "sequence"] = "token"
    """What gets a weight; a sequence's is the product of its tokens'."""
    cap: float = Field(default=2.0, gt=1)
    """Largest weight."""


class ObjectiveConfig(Config):
    """The loss. `name` sets the combination of its paper; a knob that is set besides wins over it."""

    name: ObjectiveName = "grpo"
    """Which ratio and which bound: `grpo`, `dr_grpo` and `dapo` clip tokens, `gspo` and `rloo` clip sequences, `cispo`
    bounds the weight of a token and never loses its gradient."""
    advantage_scale: AdvantageScale = "std"
    """What the advantages of a group are divided by: its standard deviation, or nothing."""
    baseline: Baseline = "mean"
    """What a reward is compared with: the mean of the group, or of the group's other attempts."""
    aggregation: Aggregation = "seq-mean-token-sum"
    """How token losses become one number: summed or averaged over a sequence, then averaged over sequences; averaged
    over all tokens; or summed and divided by sequences times `max_response_tokens`."""
    clip_low: float = Field(default=0.2, gt=0, le=1)
    """How far below 1 a probability ratio still counts; 1 = no lower bound (`cispo` only)."""
    clip_high: float = Field(default=0.28, gt=0)
    """How far above 1 a probability ratio still counts."""
    max_response_tokens: int = Field(default=36000, gt=0)
    """Sampled tokens that a trajectory may have: the constant of `token-sum-norm`, and the end of the overlong ramp."""
    overlong_penalty: float = Field(default=0.0, ge=0)
    """Taken off the reward, before groups are compared, at `max_response_tokens` sampled tokens; 0 = off."""
    overlong_frac: float = Field(default=0.2, gt=0, le=1)
    """Last part of `max_response_tokens`, over which the penalty rises from 0."""
    kl: KlConfig = KlConfig()
    """Distance to the starting policy."""
    correction: CorrectionConfig = CorrectionConfig()
    """Weights between sampler and learner."""
    masks: MasksConfig = MasksConfig()
    """Attempts without gradient."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: object) -> object:
        return _with_preset(
            data, key="name", default="grpo", presets=cast("Mapping[str, Mapping[str, object]]", PUBLISHED)
        )

    @model_validator(mode="after")
    def _refuse(self) -> Self:
        allowed = AGGREGATIONS.get(self.name)
        if allowed is not None and self.aggregation not in allowed:
            raise ValueError(
                f"{self.name} weighs whole sequences and is not defined for aggregation {self.aggregation}: "
                f"take {' or '.join(sorted(allowed))}"
            )
        if self.clip_low == 1.0 and self.name != "cispo":
            raise ValueError(f"clip_low 1 means no lower bound, which only cispo does without; {self.name} needs less")
        if self.baseline == "leave-one-out" and self.advantage_scale == "std":
            raise ValueError(
                "a leave-one-out baseline divided by the standard deviation is nobody's objective: "
                "set advantage_scale to none, or baseline to mean"
            )
        if self.name == "rloo" and self.correction.mode != "off" and self.correction.level == "token":
            raise ValueError("rloo weighs whole sequences: set correction.level to sequence")
        return self


DEFAULT_OBJECTIVE = ObjectiveConfig()
"""GRPO as the Gen-Searcher paper trains with it."""
NO_MASKS = MasksConfig()
"""Every scored attempt carries a gradient."""
