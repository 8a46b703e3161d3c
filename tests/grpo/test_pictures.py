"""What is drawn is what can move the policy, decided from what is known before any picture."""

from __future__ import annotations

import pytest

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, MasksConfig, ObjectiveConfig
from gen_searcher.drawing import DrawnHow
from gen_searcher.grpo.pictures import FLAT, MASKED, NO_SHARE, Candidate, PicturePlan, PictureRules, plan_pictures
from gen_searcher.types import Grounding, ImageRef, Judgement, Outcome, Reference, Trajectory, Turn

RULES = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=True)


def reference(digest: str) -> Reference:
    image = ImageRef(sha256=digest * 64, width_px=1, height_px=1)
    return Reference(img_id="IMG_001", note="", title="", url="", page_url="", image=image)


def candidate(seed: int, prompt: str | None, *, text: float = 0.5, shown: str = "", tokens: int = 1) -> Candidate:
    grounding = None
    if prompt is not None:
        grounding = Grounding(gen_prompt=prompt, references=tuple(reference(digest) for digest in shown))
    turn = Turn(prompt_ids=(), completion_ids=(1,) * tokens, logprobs=(0.0,) * tokens, versions=(0,) * tokens)
    return Candidate(
        trajectory=Trajectory(
            task_id="t",
            turns=(turn,),
            outcome=Outcome.MALFORMED if grounding is None else Outcome.GROUNDED,
            grounding=grounding,
        ),
        seed=seed,
        picture_seed=seed,
        judgements=()
        if grounding is None
        else (Judgement(judge="text", score=text, parts={}, rationale="", model="", prompt_sha256="", latency_s=0.0),),
    )


def hows(*candidates: Candidate, rules: PictureRules = RULES) -> list[str | None]:
    return [None if plan is None else str(plan.how) for plan in plan_pictures(candidates, rules=rules)]


def test_a_grounding_is_drawn_once_and_its_siblings_take_over_the_picture() -> None:
    plans = plan_pictures([candidate(1, "a"), candidate(2, "b"), candidate(3, "a")], rules=RULES)
    assert plans == (
        PicturePlan(how=DrawnHow.DRAWN, seed=1),
        PicturePlan(how=DrawnHow.DRAWN, seed=2),
        PicturePlan(how=DrawnHow.REUSED, seed=1, reason="the same grounding as attempt 1 of the group"),
    )


def test_references_and_their_order_belong_to_the_grounding() -> None:
    group = [candidate(n, "a", shown=shown) for n, shown in enumerate(("", "1", "2", "12", "21", "12"))]
    assert hows(*group) == ["drawn"] * 5 + ["reused"]


def test_an_attempt_without_a_grounding_has_no_plan() -> None:
    assert hows(candidate(1, None), candidate(2, "a"), candidate(3, None)) == [None, "drawn", None]
    assert hows(candidate(1, None), candidate(2, None)) == [None, None]


def test_a_group_of_one_grounding_and_one_text_score_is_flat_whatever_the_picture_earns() -> None:
    plans = plan_pictures([candidate(1, "a"), candidate(2, "a")], rules=RULES)
    assert [plan and (plan.how, plan.reason) for plan in plans] == [(DrawnHow.SKIPPED, FLAT)] * 2


@pytest.mark.parametrize(
    "other",
    [candidate(2, "b"), candidate(2, None), candidate(2, "a", text=0.75), candidate(2, "a", shown="1")],
    ids=["prompt", "no grounding", "text score", "reference"],
)
def test_a_group_that_differs_in_anything_is_not_flat(other: Candidate) -> None:
    assert hows(candidate(1, "a"), other)[0] == "drawn"


def test_a_penalty_for_length_tells_equal_groundings_apart() -> None:
    objective = ObjectiveConfig(overlong_penalty=1.0, max_response_tokens=10)
    rules = PictureRules(share=0.5, objective=objective, drops_flat=True)
    assert hows(candidate(1, "a", tokens=1), candidate(2, "a", tokens=10), rules=rules) == ["drawn", "reused"]
    assert hows(candidate(1, "a", tokens=9), candidate(2, "a", tokens=9), rules=rules) == ["skipped", "skipped"]


def test_flat_groups_that_are_trained_on_keep_their_picture() -> None:
    rules = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=False)
    assert hows(candidate(1, "a"), candidate(2, "a"), rules=rules) == ["drawn", "reused"]


def test_a_picture_without_a_share_is_not_wanted() -> None:
    rules = PictureRules(share=0.0, objective=DEFAULT_OBJECTIVE, drops_flat=True)
    plans = plan_pictures([candidate(1, "a"), candidate(2, "b")], rules=rules)
    assert [plan and (plan.how, plan.reason) for plan in plans] == [(DrawnHow.UNWANTED, NO_SHARE)] * 2


def test_a_group_whose_outcomes_are_all_masked_trains_nobody() -> None:
    objective = ObjectiveConfig(masks=MasksConfig(outcomes=(Outcome.GROUNDED, Outcome.MALFORMED)))
    rules = PictureRules(share=0.5, objective=objective, drops_flat=True)
    plans = plan_pictures([candidate(1, "a"), candidate(2, None)], rules=rules)
    assert [plan and (plan.how, plan.reason) for plan in plans] == [(DrawnHow.SKIPPED, MASKED), None]
