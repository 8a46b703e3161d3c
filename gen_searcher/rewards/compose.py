"""Judgements -> Reward: what the picture and the grounding earned, less what finding it cost.

    quality = (1 - alpha) * image + alpha * text                 0 without a grounding
    total   = max(0, (1 - format_share) * quality + format_share * [grounded] - cost)
    cost    = tool_call_cost * tool calls + token_cost_per_1k * sampled tokens / 1000

With a cost above 0, an answer that needed no search beats an equal one that searched. The floor of 0 keeps giving up
from paying: a trajectory without a grounding never earns more than a poor one.
"""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.config.rewards import RewardConfig
from gen_searcher.errors import JudgeError
from gen_searcher.rewards.verdict import k_score
from gen_searcher.types import Judgement, Outcome, Reward, Trajectory

IMAGE = "image"
"""Name of the judge whose question is: does the picture show the facts?"""
TEXT = "text"
"""Name of the judge whose question is: does the grounding hold the facts?"""
COST = "cost"
"""Part of the reward that was taken off; there when a cost is set."""


def compose(trajectory: Trajectory, judgements: Sequence[Judgement], *, rules: RewardConfig) -> Reward:
    """Blend the two judgements and take off the cost.

    A judge whose share is 0 may be absent; any other that is missing, unknown or named twice is a wiring mistake and
    raises ValueError. A score or part outside 0..1, NaN included, is the judge's fault and raises JudgeError: what is
    unknown is lost, it never becomes a number.
    """
    costs = _costs(trajectory, rules)
    if trajectory.outcome is not Outcome.GROUNDED:
        return Reward(total=0.0, parts=costs)
    names = [judgement.judge for judgement in judgements]
    if len(set(names)) != len(names) or not set(names) <= {IMAGE, TEXT}:
        raise ValueError(f"compose blends one judgement named {IMAGE!r} and one named {TEXT!r}, not {names}")
    for judgement in judgements:
        check_judgement(judgement)
    scores = {judgement.judge: _score(judgement, rules) for judgement in judgements}
    quality = 0.0
    for name, share in ((IMAGE, 1.0 - rules.alpha), (TEXT, rules.alpha)):
        if share > 0.0 and name not in scores:
            raise ValueError(f"the {name} judgement is missing: its share of the reward is {share:g}")
        quality += share * scores.get(name, 0.0)
    earned = (1.0 - rules.format_share) * quality + rules.format_share
    return Reward(total=max(0.0, earned - sum(costs.values())), parts={**scores, **costs})


def check_judgement(judgement: Judgement) -> None:
    """Raise JudgeError for a score or a part that is no number from 0 to 1; a part may be None (not applicable)."""
    if not 0.0 <= judgement.score <= 1.0:
        raise JudgeError(f"the {judgement.judge} judge gave {judgement.score}; scores are from 0 to 1")
    for name, value in judgement.parts.items():
        if value is not None and not 0.0 <= value <= 1.0:
            raise JudgeError(f"the {judgement.judge} judge gave {value} for {name}; scores are from 0 to 1")


def _score(judgement: Judgement, rules: RewardConfig) -> float:
    """The judge's own score, or that of its parts under other weights."""
    if judgement.judge != IMAGE or rules.weights is None:
        return judgement.score
    try:
        return k_score(judgement.parts, weights=rules.weights.model_dump())
    except ValueError as error:
        raise JudgeError(f"reward.weights needs a judge of four dimensions: {error}") from error


def _costs(trajectory: Trajectory, rules: RewardConfig) -> dict[str, float]:
    """What finding it cost, in units of reward; empty while both prices are 0."""
    if rules.tool_call_cost == 0.0 and rules.token_cost_per_1k == 0.0:
        return {}
    calls = sum(turn.call is not None and turn.result is not None for turn in trajectory.turns)
    tokens = sum(len(turn.completion_ids) for turn in trajectory.turns)
    return {COST: rules.tool_call_cost * calls + rules.token_cost_per_1k * tokens / 1000.0}
