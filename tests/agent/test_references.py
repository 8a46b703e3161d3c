"""A reference counts only when a tool brought it back in the same trajectory."""

from __future__ import annotations

import pytest

from gen_searcher.agent.decide import Correct, Finish, Situation, decide
from gen_searcher.agent.gallery import Gallery
from gen_searcher.agent.parse import Answer, Pick
from gen_searcher.types import FoundImage, ImageRef, Outcome


def found(digest: str) -> FoundImage:
    ref = ImageRef(sha256=digest * 64, width_px=64, height_px=64)
    return FoundImage(img_id=digest, title=digest, url=f"http://{digest}", page_url="", image=ref, view=ref)


def situation(gallery: Gallery, *, spent: Outcome | None = None, max_prompt_chars: int | None = None) -> Situation:
    return Situation(
        gallery=gallery,
        turns=(),
        max_references=4,
        max_prompt_chars=max_prompt_chars,
        spent=spent,
        is_cut=False,
        is_repeated=False,
    )


def answer(*img_ids: str) -> Answer:
    picks = tuple(Pick(img_id=img_id, note="") for img_id in img_ids)
    return Answer(gen_prompt="the first reference image", picks=picks)


SHOWN = Gallery().admit([found("a"), found("b")])


def test_pictures_that_a_tool_returned_are_taken_in_the_order_of_the_answer() -> None:
    decision = decide(answer("IMG_002", "IMG_001"), situation(SHOWN))
    assert isinstance(decision, Finish)
    assert decision.grounding is not None
    assert [reference.image.sha256[0] for reference in decision.grounding.references] == ["b", "a"]


@pytest.mark.fault(40)
@pytest.mark.parametrize("invented", ["IMG_003", "IMG_000", "a", "http://a", "../../x", ""])
def test_a_picture_that_no_tool_returned_is_refused_with_the_ids_that_there_are(invented: str) -> None:
    decision = decide(answer("IMG_001", invented), situation(SHOWN))
    assert isinstance(decision, Correct)
    assert "IMG_001, IMG_002" in decision.mistake.message


@pytest.mark.fault(40)
def test_in_the_last_turn_an_invented_reference_makes_no_grounding() -> None:
    decision = decide(answer("IMG_001", "IMG_009"), situation(SHOWN, spent=Outcome.OUT_OF_TURNS))
    assert decision == Finish(outcome=Outcome.MALFORMED)


def test_pictures_of_another_trajectory_do_not_count() -> None:
    decision = decide(answer("IMG_001"), situation(Gallery()))
    assert isinstance(decision, Correct)
    assert "you were shown no picture" in decision.mistake.message


def test_a_prompt_is_taken_up_to_the_length_that_the_generator_takes() -> None:
    written = answer("IMG_001")
    count = len(written.gen_prompt)
    exact = decide(written, situation(SHOWN, max_prompt_chars=count))
    assert isinstance(exact, Finish)
    assert exact.outcome is Outcome.GROUNDED
    longer = decide(written, situation(SHOWN, max_prompt_chars=count - 1))
    assert isinstance(longer, Correct)
    assert longer.mistake.message == f'"gen_prompt" has {count} characters; the generator takes at most {count - 1}.'
    last = decide(written, situation(SHOWN, spent=Outcome.OUT_OF_TURNS, max_prompt_chars=count - 1))
    assert last == Finish(outcome=Outcome.MALFORMED)
