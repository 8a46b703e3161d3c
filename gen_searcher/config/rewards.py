"""Settings of the reward: how judgements become one number, which server judges, how the judges are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from gen_searcher.config.base import Config
from gen_searcher.config.plug import Plug
from gen_searcher.config.secrets import Secret


class DimensionWeights(Config):
    """Shares of KnowGen's four dimensions in the picture's score; they sum to 1."""

    faithfulness: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of presence and structure."""
    visual_correctness: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of agreement with the ground truth's subjects."""
    text_accuracy: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of the text that the picture must carry."""
    aesthetics: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of looks."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.faithfulness + self.visual_correctness + self.text_accuracy + self.aesthetics
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"the four shares must sum to 1, not {total:g}")
        return self


class CalibrationConfig(Config):
    """Whether the judges are held against the golden set, and what counts as drift."""

    before_run: bool = False
    """Calibrate before the first step of `grpo`. A judge behind an API is asked about every golden case."""
    every_steps: int | None = Field(default=None, ge=1)
    """Calibrate after every so many steps of `grpo`; None = never."""
    min_kappa: float = Field(default=0.85, ge=-1.0, le=1.0)
    """Quadratic-weighted kappa against the golden labels, -1 to 1; a judge below it stops the run (exit code 3)."""
    cases: int | None = Field(default=None, ge=8)
    """Golden cases per calibration, spread over all classes; None = all."""


class RewardConfig(Config):
    """How the judgements become one number."""

    alpha: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the text reward, 0 to 1: reward = (1 - alpha) * image + alpha * text. 0 trains on the picture alone,
    1 on the grounding alone."""
    weights: DimensionWeights | None = None
    """Other shares for the four dimensions of the image judgement; None = the judge's own score, which is KnowGen's
    0.1 / 0.4 / 0.4 / 0.1 for the judges that ship."""
    format_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the reward, 0 to 1, that a valid grounding earns whatever is in it."""
    tool_call_cost: float = Field(default=0.0, ge=0.0)
    """Reward that each tool call costs; the total never falls below 0, so giving up does not pay."""
    token_cost_per_1k: float = Field(default=0.0, ge=0.0)
    """Reward that 1000 sampled tokens cost."""
    shadow_frac: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the judged attempts that `shadow_judges` score too; recorded, never in the reward."""
    shadow_judges: Mapping[str, Plug] = {}
    """Judges that score a share of the attempts beside the real ones, by any name; empty = none."""
    calibration: CalibrationConfig = CalibrationConfig()
    """When the judges are held against the golden set."""


class JudgeCheckConfig(Config):
    """`gen-searcher judge check` and `judge calibrate`."""

    judge: str = "image"
    """A judge of `judges` by its name, or a class as `package.module:Class`."""
    keywords: Mapping[str, JsonValue] = {}
    """Constructor keywords of a class given by its path."""
    repeats: int = Field(default=2, ge=2)
    """`judge calibrate`: how often each golden case is judged for the test-retest figure."""


class ChatServer(Config):
    """An OpenAI-compatible chat-completions server, hosted or one's own vLLM."""

    base_url: str = Field(pattern=r"^https?://")
    """Up to and with `/v1`, e.g. `https://api.openai.com/v1`."""
    model: str = Field(min_length=1)
    """Name of the model; it must read pictures and obey `reply_format`."""
    key: Secret | None = None
    """`env:NAME` or `file:/path`; None for a server without a key."""
    temperature: float = Field(default=0.0, ge=0.0)
    """Sampling temperature of the judge."""
    reply_format: Literal["json_schema", "json_object"] = "json_schema"
    """How the server is bound to the form of a verdict: by a strict schema, or, where the model has none, to any JSON
    object. What comes back is checked against the schema either way."""
    extra: Mapping[str, JsonValue] = {}
    """Further keys of the request, e.g. `{chat_template_kwargs: {enable_thinking: false}}` for vLLM."""
    max_tokens: int = Field(default=2048, ge=64)
    """Longest reply in tokens."""
    timeout_s: float = Field(default=120.0, gt=0.0)
    """Longest wait for one reply, in seconds."""
    tries: int = Field(default=4, ge=1)
    """How often one question is asked before the attempt is lost; every try has its own seed."""
    retry_base_s: float = Field(default=1.0, ge=0.0)
    """First pause between tries, in seconds; it doubles each time."""
    retry_max_s: float = Field(default=30.0, ge=0.0)
    """Longest pause between tries, in seconds; a server that asks for more loses the attempt at once."""
    concurrency: int = Field(default=32, ge=1)
    """Questions in flight per process."""
    max_side_px: int = Field(default=2048, ge=32, le=4096)
    """Pictures are made smaller than this before they are sent, in pixels of the longer side."""
    usd_per_m_input: float = Field(default=0.0, ge=0.0)
    """Price of one million prompt tokens, in US dollars."""
    usd_per_m_cached_input: float | None = Field(default=None, ge=0.0)
    """Price of one million prompt tokens from the server's prefix cache; None = as any other."""
    usd_per_m_output: float = Field(default=0.0, ge=0.0)
    """Price of one million reply tokens, in US dollars."""
