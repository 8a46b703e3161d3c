"""Judgements -> Reward: `(1 - alpha) * image + alpha * text`, and nothing without a grounding."""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.errors import JudgeError
from gen_searcher.types import Judgement, Outcome, Reward

IMAGE = "image"
"""Name of the judge whose question is: does the picture show the facts?"""
TEXT = "text"
"""Name of the judge whose question is: does the grounding hold the facts?"""


def compose(outcome: Outcome, judgements: Sequence[Judgement], *, alpha: float) -> Reward:
    """Blend the two judgements; `alpha` 0 trains on the picture alone, 1 on the grounding alone.

    A trajectory that handed in no grounding earns 0. A judge whose share is 0 may be absent; any other that is
    missing, unknown or named twice is a wiring mistake and raises ValueError. A score outside 0..1 is the judge's
    fault and raises JudgeError.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}; it must be from 0 to 1")
    if outcome is not Outcome.GROUNDED:
        return Reward(total=0.0, parts={})
    names = [judgement.judge for judgement in judgements]
    if len(set(names)) != len(names) or not set(names) <= {IMAGE, TEXT}:
        raise ValueError(f"compose blends one judgement named {IMAGE!r} and one named {TEXT!r}, not {names}")
    for judgement in judgements:
        if not 0.0 <= judgement.score <= 1.0:
            raise JudgeError(f"the {judgement.judge} judge gave {judgement.score}; scores are from 0 to 1")
    scores = {judgement.judge: judgement.score for judgement in judgements}
    total = 0.0
    for name, share in ((IMAGE, 1.0 - alpha), (TEXT, alpha)):
        if share > 0.0 and name not in scores:
            raise ValueError(f"the {name} judgement is missing: its share of the reward is {share:g}")
        total += share * scores.get(name, 0.0)
    return Reward(total=total, parts=scores)
