"""Trajectory -> Sample: all turns of one trajectory as one sequence, trained where the policy wrote."""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.config.objective import NO_MASKS, MasksConfig
from gen_searcher.grpo.select import carries_gradient
from gen_searcher.types import Group, ImageRef, Sample, Trajectory


def group_samples(group: Group, advantages_G: Sequence[float], *, masks: MasksConfig = NO_MASKS) -> list[Sample]:
    """One sample for each scored attempt that carries a gradient, by default failed ones too; lost attempts leave no trace.

    Args:
        group: The attempts.
        advantages_G: [G] in the order of `group.attempts`, of masked ones too.
        masks: Which attempts leave no sample.
    """
    return [
        trajectory_sample(attempt.trajectory, advantage)
        for attempt, advantage in zip(group.attempts, advantages_G, strict=True)
        if carries_gradient(attempt, masks)
    ]


def trajectory_sample(trajectory: Trajectory, advantage: float) -> Sample:
    """Join the turns: what was shown is context, what was sampled carries the gradient.

    Token ids are taken over as they were sampled and never re-tokenised. A demonstration is a trajectory with
    advantage 1.
    """
    token_ids: list[int] = []
    loss_mask: list[bool] = []
    logprobs: list[float] = []
    versions: list[int] = []
    log_kept: list[float] = []
    images: list[ImageRef] = []
    for turn in trajectory.turns:
        shown, written = len(turn.prompt_ids), len(turn.completion_ids)
        kept = turn.log_kept or (0.0,) * written
        if not written == len(turn.logprobs) == len(turn.versions) == len(kept):
            raise ValueError(
                f"task {trajectory.task_id}: a turn of {written} sampled tokens has {len(turn.logprobs)} "
                f"log-probabilities, {len(turn.versions)} versions and {len(kept)} kept masses"
            )
        token_ids += turn.prompt_ids + turn.completion_ids
        loss_mask += [False] * shown + [True] * written
        logprobs += [0.0] * shown + list(turn.logprobs)
        versions += [-1] * shown + list(turn.versions)
        log_kept += [0.0] * shown + list(kept)
        images += turn.images
    return Sample(
        token_ids=tuple(token_ids),
        loss_mask=tuple(loss_mask),
        logprobs=tuple(logprobs),
        images=tuple(images),
        advantage=advantage,
        versions=tuple(versions),
        log_kept=tuple(log_kept),
    )
