"""Groups of short trajectories."""

from __future__ import annotations

from gen_searcher.types import Attempt, Group, ImageRef, Lost, Outcome, Reward, Task, Trajectory, Turn

VIEW = ImageRef(sha256="a" * 64, width_px=64, height_px=32)


def trajectory(first: int = 1, *, outcome: Outcome = Outcome.OUT_OF_TURNS) -> Trajectory:
    """Two turns: 3 + 2 tokens, then 4 + 1 tokens with a picture in the observation."""
    return Trajectory(
        task_id="t",
        outcome=outcome,
        grounding=None,
        turns=(
            Turn(prompt_ids=(first, 2, 3), completion_ids=(4, 5), logprobs=(-0.5, -0.25), versions=(7, 7)),
            Turn(prompt_ids=(6, 90, 7, 8), completion_ids=(9,), logprobs=(-1.5,), versions=(8,), images=(VIEW,)),
        ),
    )


def group(*rewards: float, lost: int = 0) -> Group:
    return Group(
        task=Task(id="t", prompt="p", target=None, meta={}),
        attempts=tuple(
            Attempt(
                trajectory=trajectory(10 + number),
                seed=number,
                image=None,
                judgements=(),
                reward=Reward(total=reward, parts={}),
            )
            for number, reward in enumerate(rewards)
        ),
        lost=tuple(Lost(task_id="t", seed=90 + n, stage="generate", error="connection reset") for n in range(lost)),
    )
