"""Which pictures of a group can still move the policy, once everything that is cheaper is known. Pure decisions.

A group is compared after its searches and its text verdicts. Then each attempt's reward is `fixed + share * x`, where `x`
in 0..1 is what the picture will earn and attempts with the same grounding share one `x`. So a picture is

- unwanted when `share` is 0: the reward is whole without it;
- not drawn when the group is flat for every `x`: all attempts have one grounding and one `fixed`;
- asked for once per grounding: siblings take over the picture of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.drawing import DrawnHow
from gen_searcher.grpo.advantage import length_penalty
from gen_searcher.types import Grounding, Judgement, Trajectory

FLAT = "all attempts have the same grounding and earn the same otherwise"
MASKED = "no attempt of the group carries a gradient"
NO_SHARE = "the picture has no share of the reward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An attempt before its picture."""

    trajectory: Trajectory
    seed: int
    """What it was sampled from."""
    picture_seed: int
    """What its own picture would be drawn with."""
    judgements: tuple[Judgement, ...]
    """Verdicts that need no picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePlan:
    """What to do about one attempt's picture."""

    how: DrawnHow
    seed: int
    """What to draw with: the attempt's own seed, or that of the sibling whose picture it takes over."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRules:
    """What the decision depends on beside the candidates."""

    share: float
    """Of the picture in the reward, 0..1."""
    objective: ObjectiveConfig
    drops_flat: bool
    """Groups without signal are passed over; if not, none may be left without its pictures."""


def plan_pictures(candidates_G: Sequence[Candidate], *, rules: PictureRules) -> tuple[PicturePlan | None, ...]:
    """[G] What to do for each candidate; None for one without a grounding, which is never drawn."""
    flat = _why_flat(candidates_G, rules) if rules.drops_flat else None
    first: dict[tuple[str, ...], int] = {}
    plans: list[PicturePlan | None] = []
    for place, candidate in enumerate(candidates_G):
        grounding = candidate.trajectory.grounding
        if grounding is None:
            plans.append(None)
        elif rules.share == 0.0:
            plans.append(PicturePlan(how=DrawnHow.UNWANTED, seed=candidate.picture_seed, reason=NO_SHARE))
        elif flat is not None:
            plans.append(PicturePlan(how=DrawnHow.SKIPPED, seed=candidate.picture_seed, reason=flat))
        else:
            leader = first.setdefault(same_picture(grounding), place)
            if leader == place:
                plans.append(PicturePlan(how=DrawnHow.DRAWN, seed=candidate.picture_seed))
            else:
                reason = f"the same grounding as attempt {leader + 1} of the group"
                plans.append(PicturePlan(how=DrawnHow.REUSED, seed=candidates_G[leader].picture_seed, reason=reason))
    return tuple(plans)


def same_picture(grounding: Grounding) -> tuple[str, ...]:
    """Equal for groundings that ask for the same picture: the prompt, then the references in their order."""
    return (grounding.gen_prompt, *(reference.image.sha256 for reference in grounding.references))


def _why_flat(candidates_G: Sequence[Candidate], rules: PictureRules) -> str | None:
    """Why the group cannot teach whatever its pictures earn; None when it can."""
    if all(candidate.trajectory.outcome in rules.objective.masks.outcomes for candidate in candidates_G):
        return MASKED
    pictures = {_asked(candidate) for candidate in candidates_G}
    fixed = {_fixed(candidate, rules.objective) for candidate in candidates_G}
    return FLAT if len(pictures) == 1 and len(fixed) == 1 and None not in pictures else None


def _asked(candidate: Candidate) -> tuple[str, ...] | None:
    grounding = candidate.trajectory.grounding
    return None if grounding is None else same_picture(grounding)


def _fixed(candidate: Candidate, objective: ObjectiveConfig) -> tuple[float | str, ...]:
    """Everything but the picture that the shaped reward is made of."""
    verdicts = sorted((judgement.judge, judgement.score) for judgement in candidate.judgements)
    return (length_penalty(candidate.trajectory, objective), *(part for verdict in verdicts for part in verdict))
