"""The rule, by hand: what counterfactuals scored and what the trace shows -> the link."""

from __future__ import annotations

import pytest

from gen_searcher.bench.attribution import Attribution, Failed, Standing, attribute
from gen_searcher.bench.links import Finding, Link, Parts, Swap, complaints

BAR = 0.6


def parts(f: float, v: float, t: float | None = None) -> Parts:
    return {"faithfulness": f, "visual_correctness": v, "text_accuracy": t, "aesthetics": 0.1}


RIGHT, WRONG_PICTURE, WRONG_TEXT = parts(0.9, 0.9, 0.9), parts(0.9, 0.2, 0.9), parts(0.9, 0.9, 0.1)
ALL_WRONG = parts(0.1, 0.1, 0.1)
SELECTION = Finding(link=Link.SELECTION, why="another flag")
SEARCH = Finding(link=Link.SEARCH, why="never seen")
STYLE = Finding(link=Link.GROUNDING, why="style")


def failed(
    own: Parts,
    *,
    picture: Parts | None = RIGHT,
    grounding: Parts | None = RIGHT,
    references: Parts | None = None,
    prompt: Parts | None = None,
    of_references: tuple[Finding, ...] = (),
    of_prompt: tuple[Finding, ...] = (),
    of_lacking: tuple[Finding, ...] = (),
) -> Failed:
    """`references` is the verdict with the oracle's references, `prompt` that with the oracle's prompt."""
    runs = {
        Swap.PICTURE: picture,
        Swap.GROUNDING: grounding,
        Swap.REFERENCES: references,
        Swap.PROMPT: prompt,
    }
    return Failed(
        own=own,
        bar=BAR,
        runs={swap: run for swap, run in runs.items() if run is not None},
        of_references=of_references,
        of_prompt=of_prompt,
        of_lacking=of_lacking,
    )


def link(case: Failed) -> Link | None:
    return attribute(case).link


def test_a_complaint_is_a_question_that_applies_and_is_answered_below_the_bar() -> None:
    assert complaints(parts(0.59, 0.6), bar=BAR) == {"faithfulness"}
    assert complaints(parts(1.0, 1.0, 0.0), bar=BAR) == {"text_accuracy"}
    assert complaints({**RIGHT, "aesthetics": 0.0}, bar=BAR) == frozenset()


def test_a_judge_that_says_no_to_the_ground_truth_is_to_blame_and_gives_back_what_it_took() -> None:
    found = attribute(failed(parts(0.5, 0.1, 0.9), picture=parts(0.3, 0.2, 0.9)))
    assert found.link is Link.JUDGING
    assert found.mended == {
        "faithfulness": 1.0,
        "visual_correctness": pytest.approx(0.9),
        "text_accuracy": 0.9,
        "aesthetics": 0.1,
    }


def test_a_judge_that_disagrees_is_enough() -> None:
    case = Failed(own=ALL_WRONG, bar=BAR, disagreeing=RIGHT, runs={})
    assert (attribute(case).link, attribute(case).mended) == (Link.JUDGING, RIGHT)


def test_a_generator_that_fails_on_the_oracles_grounding_is_to_blame_and_the_ground_truth_mends_it() -> None:
    found = attribute(failed(WRONG_PICTURE, grounding=parts(0.2, 0.3, 0.9), of_prompt=(STYLE,)))
    assert (found.link, found.mended, found.also) == (Link.GENERATION, RIGHT, (Link.GROUNDING,))
    assert found.complaints == ("visual_correctness",)


def test_what_stays_with_the_oracles_prompt_is_the_references_fault() -> None:
    case = failed(WRONG_PICTURE, prompt=WRONG_PICTURE, references=RIGHT, of_references=(SELECTION,), of_prompt=(STYLE,))
    found = attribute(case)
    assert (found.link, found.why, found.mended) == (Link.SELECTION, "another flag", RIGHT)
    assert found.also == (Link.GROUNDING,)


def test_what_stays_with_the_oracles_references_is_the_prompts_fault() -> None:
    case = failed(WRONG_TEXT, prompt=RIGHT, references=WRONG_TEXT, of_references=(SELECTION,), of_prompt=(STYLE,))
    assert link(case) is Link.GROUNDING


def test_of_two_faults_the_earlier_link_counts_and_only_its_side_is_mended() -> None:
    own = parts(0.9, 0.2, 0.1)
    case = failed(own, prompt=WRONG_PICTURE, references=WRONG_TEXT, of_references=(SELECTION,), of_prompt=(SEARCH,))
    found = attribute(case)
    assert (found.link, found.also, found.mended) == (Link.SEARCH, (Link.SELECTION,), WRONG_PICTURE)


def test_one_link_that_spoiled_both_sides_is_mended_on_both() -> None:
    own = parts(0.9, 0.2, 0.1)
    case = failed(own, prompt=WRONG_PICTURE, references=WRONG_TEXT, of_references=(SEARCH,), of_prompt=(SEARCH,))
    assert (attribute(case).link, attribute(case).mended) == (Link.SEARCH, RIGHT)


def test_what_the_generator_does_to_every_picture_is_not_the_agents_fault_but_the_rest_is() -> None:
    own, drawn = parts(0.2, 0.2, 0.9), parts(0.2, 0.9, 0.9)
    found = attribute(failed(own, grounding=drawn, prompt=own, references=drawn, of_references=(SELECTION,)))
    assert (found.link, found.also) == (Link.SELECTION, (Link.GENERATION,))


def test_a_grounding_that_is_right_in_every_part_and_drawn_wrong_is_generation() -> None:
    assert link(failed(WRONG_PICTURE, prompt=RIGHT, references=WRONG_PICTURE)) is Link.GENERATION


def test_swaps_that_blame_what_the_trace_finds_right_decide_nothing() -> None:
    found = attribute(failed(WRONG_PICTURE, prompt=RIGHT, references=WRONG_PICTURE, of_references=(SELECTION,)))
    assert (found.standing, found.link) == (Standing.UNDECIDED, None)
    assert "blame the prompt" in found.why


def test_without_a_grounding_the_trace_alone_counts() -> None:
    found = attribute(failed(ALL_WRONG, grounding=WRONG_TEXT, of_lacking=(SELECTION, SEARCH)))
    assert (found.link, found.why, found.also) == (Link.SEARCH, "never seen", (Link.SELECTION, Link.GENERATION))
    assert found.mended == WRONG_TEXT


def test_without_an_oracle_only_the_judge_can_be_named() -> None:
    assert link(failed(ALL_WRONG, picture=ALL_WRONG, grounding=None)) is Link.JUDGING
    for picture in (RIGHT, None):
        found = attribute(failed(ALL_WRONG, picture=picture, grounding=None))
        assert (found.standing, found.mended) == (Standing.UNDECIDED, None)
        assert "no oracle" in found.why
    found = attribute(failed(ALL_WRONG, picture=None, grounding=ALL_WRONG))
    assert (found.standing, "no ground truth" in found.why) == (Standing.UNDECIDED, True)


def test_a_link_and_undecided_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="undecided"):
        Attribution(standing=Standing.UNDECIDED, link=Link.SEARCH)
