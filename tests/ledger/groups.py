"""Groups with everything in them that a ledger must bring back."""

from __future__ import annotations

from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.types import (
    Attempt,
    FoundImage,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Lost,
    Outcome,
    Reference,
    Reward,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

PICTURE = ImageRef(sha256="ab" * 32, width_px=64, height_px=32)


def task(number: int) -> Task:
    return Task(id=f"t{number}", prompt="draw", target=None, meta={"category": "flags"})


def attempt(task_id: str, seed: int, *, reward: float = 1 / 3, cost_usd: float = 0.25) -> Attempt:
    """Two turns, a tool, a picture, a verdict: every optional part is there."""
    found = FoundImage(img_id="IMG_001", title="It", url="u", page_url="p", image=PICTURE, view=PICTURE)
    turns = (
        Turn(
            prompt_ids=(1, 2),
            completion_ids=(seed % 90, 4),
            logprobs=(-0.1, -(2.0**-40)),
            versions=(0, 1),
            log_kept=(-1e-9, 0.0),
            images=(PICTURE,),
            call=ToolCall(name="search", arguments={"query": "ça", "limit": 3}),
            result=ToolResult(text="found", images=(found,), cost_usd=cost_usd, latency_s=0.1, canaries=("override",)),
        ),
        Turn(prompt_ids=(6,), completion_ids=(7,), logprobs=(-2.5,), versions=(1,)),
    )
    reference = Reference(img_id="IMG_001", note="the flag", title="It", url="u", page_url="p", image=PICTURE)
    return Attempt(
        trajectory=Trajectory(
            task_id=task_id,
            turns=turns,
            outcome=Outcome.GROUNDED,
            grounding=Grounding(gen_prompt="a flag", references=(reference,), sources=("u",)),
        ),
        seed=seed,
        image=PICTURE,
        judgements=(
            Judgement(
                judge="text",
                score=reward,
                parts={"a": None, "b": 0.1},
                rationale="so",
                model="m",
                prompt_sha256="0",
                latency_s=0.3,
                cost_usd=0.5,
            ),
        ),
        reward=Reward(total=reward, parts={"text": reward}),
        drawing=Drawing(how=DrawnHow.DRAWN, seed=seed, cost_usd=1.0),
    )


def group(visit: int, *, version: int = 0, lost_member: bool = False, lost_try: bool = False) -> Group:
    """Two members, the second given up if `lost_member`; with `lost_try` a try of the first was lost before."""
    mine = task(visit)
    first, second = 10 * visit, 10 * visit + 1
    tries = [Lost(task_id=mine.id, seed=first, stage="judge", error="503")] if lost_try else []
    if lost_member:
        tries.append(Lost(task_id=mine.id, seed=second, stage="generate", error="reset"))
    seeds = (first,) if lost_member else (first, second)
    return Group(
        task=mine,
        attempts=tuple(attempt(mine.id, seed, reward=seed / 1000) for seed in seeds),
        lost=tuple(tries),
        version=version,
        visit=visit,
    )
