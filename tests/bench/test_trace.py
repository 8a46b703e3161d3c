"""What observations, calls and the answer show, on trajectories written by hand."""

from __future__ import annotations

import hashlib

import pytest

from gen_searcher.bench.links import Finding, Link
from gen_searcher.bench.oracle import Evidence, NeededFact, NeededPicture, PromptFault
from gen_searcher.bench.trace import Trace
from gen_searcher.types import (
    FoundImage,
    Grounding,
    ImageRef,
    Outcome,
    Reference,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

POLAND = "Country with the capital Warsaw: Poland."
ZLOTY = "Currency of Poland: zloty."


def ref(name: str) -> ImageRef:
    return ImageRef(sha256=hashlib.sha256(name.encode()).hexdigest(), width_px=8, height_px=8)


def reference(name: str) -> Reference:
    return Reference(img_id="IMG_001", note="", title=name, url="u", page_url="p", image=ref(name))


EVIDENCE = Evidence(
    facts=(
        NeededFact(statement=POLAND, about="Warsaw", value="Poland"),
        NeededFact(statement=ZLOTY, about="Poland", value="zloty", after=(0,)),
    ),
    pictures=(NeededPicture(name="Poland", sha256s=frozenset({ref("Poland").sha256, ref("Twin").sha256}), after=(0,)),),
    caption="zloty",
    caption_fact=1,
    grounding=Grounding(gen_prompt="", references=()),
)


def turn(query: str, text: str, *pictures: str) -> Turn:
    images = tuple(
        FoundImage(img_id=name, title=name, url="u", page_url="p", image=ref(name), view=ref(name)) for name in pictures
    )
    return Turn(
        prompt_ids=(),
        completion_ids=(),
        logprobs=(),
        versions=(),
        call=ToolCall(name="search", arguments={"queries": [query]}),
        result=ToolResult(text=text, images=images),
    )


CAPITAL = turn("capital city: Warsaw", f"results\n1. Warsaw\nA city. {POLAND}")
CURRENCY = turn("currency: Poland", ZLOTY)
FLAGS = turn("flag: Poland", "pictures", "Monaco", "Poland")


def trace(*turns: Turn, chosen: tuple[str, ...] | None = ("Poland",), evidence: Evidence = EVIDENCE) -> Trace:
    grounding = None if chosen is None else Grounding(gen_prompt="", references=tuple(map(reference, chosen)))
    outcome = Outcome.OUT_OF_TURNS if chosen is None else Outcome.GROUNDED
    return Trace(Trajectory(task_id="t", turns=turns, outcome=outcome, grounding=grounding), evidence)


def links(findings: list[Finding]) -> list[Link]:
    return [finding.link for finding in findings]


@pytest.mark.parametrize("chosen", ["Poland", "Twin"])
def test_the_right_picture_or_its_look_alike_is_right_whatever_was_read(chosen: str) -> None:
    assert trace(chosen=(chosen,)).of_references() == []


def test_a_fact_that_no_observation_states_is_search() -> None:
    (found,) = trace(turn("junk", "Country with the capital Vienna: Austria."), chosen=("Monaco",)).of_references()
    assert (found.link, POLAND in found.why) == (Link.SEARCH, True)


def test_a_fact_that_was_read_and_never_asked_with_is_reading_even_where_the_picture_was_shown() -> None:
    other = turn("flag: Austria", "pictures", "Austria", "Poland")
    assert links(trace(CAPITAL, other, chosen=("Austria",)).of_references()) == [Link.READING]


def test_a_picture_that_was_shown_and_not_chosen_is_selection() -> None:
    assert links(trace(CAPITAL, FLAGS, chosen=("Monaco",)).of_references()) == [Link.SELECTION]
    assert links(trace(CAPITAL, FLAGS, chosen=()).of_references()) == [Link.SELECTION]


def test_a_picture_that_was_asked_for_and_never_shown_is_search() -> None:
    flags = turn("flag: Poland", "pictures", "Monaco")
    assert links(trace(CAPITAL, flags, chosen=("Monaco",)).of_references()) == [Link.SEARCH]


@pytest.mark.parametrize("line", ["Poland is governed from its capital warsaw.", "capital: Warsaw | country: Poland"])
def test_a_fact_may_be_said_in_any_words_on_one_line(line: str) -> None:
    other = turn("flag: Austria", "Austria")
    assert links(trace(turn("capital", line), other, chosen=("Austria",)).of_references()) == [Link.READING]
    apart = turn("capital", "1. Warsaw\n2. Poland")
    assert links(trace(apart, other, chosen=("Austria",)).of_references()) == [Link.SEARCH]


def test_half_a_word_is_not_the_fact() -> None:
    flags = turn("flag: Polandia", "pictures", "Poland")
    assert links(trace(CAPITAL, flags, chosen=("Monaco",)).of_references()) == [Link.READING]


def test_right_pictures_at_wrong_places_or_too_many_of_them_are_grounding() -> None:
    assert links(trace(CAPITAL, FLAGS, chosen=("Monaco", "Poland")).of_references()) == [Link.GROUNDING]
    assert links(trace(CAPITAL, FLAGS, chosen=("Poland", "Monaco")).of_references()) == [Link.GROUNDING]


def test_a_caption_that_was_read_is_grounding_when_left_out_and_reading_when_another_is_written() -> None:
    read = trace(CAPITAL, CURRENCY)
    assert links(read.of_prompt([PromptFault.NO_CAPTION, PromptFault.OTHER_CAPTION])) == [Link.GROUNDING, Link.READING]
    assert links(read.of_prompt([PromptFault.STYLE, PromptFault.UNASKED_CAPTION])) == [Link.GROUNDING] * 2


def test_a_caption_whose_fact_was_never_asked_for_is_traced_back_to_the_first_step_that_failed() -> None:
    missing = [PromptFault.NO_CAPTION]
    assert links(trace(CAPITAL, turn("currency: Austria", "none")).of_prompt(missing)) == [Link.READING]
    assert links(trace(turn("junk", "none")).of_prompt(missing)) == [Link.SEARCH]
    assert links(trace(CAPITAL, FLAGS).of_prompt(missing)) == [Link.SEARCH], "its subject was found and used"


def test_a_caption_that_the_request_tells_is_grounding() -> None:
    told = Evidence(facts=(), pictures=(), caption="HI", caption_fact=None, grounding=EVIDENCE.grounding)
    assert links(trace(chosen=(), evidence=told).of_prompt([PromptFault.NO_CAPTION])) == [Link.GROUNDING]


def test_without_an_answer_it_counts_what_was_never_got_hold_of() -> None:
    assert Link.SEARCH in links(trace(CAPITAL, chosen=None).of_lacking()), "there was no later call to use it in"
    assert Link.READING not in links(trace(CAPITAL, chosen=None).of_lacking())
    assert links(trace(CAPITAL, FLAGS, chosen=None).of_lacking()) == [Link.SEARCH], "the caption is missing"
    assert links(trace(CAPITAL, CURRENCY, FLAGS, chosen=None).of_lacking()) == [Link.GROUNDING]
    austria = turn("flag: Austria", "pictures", "Austria")
    assert Link.READING in links(trace(CAPITAL, austria, chosen=None).of_lacking())
