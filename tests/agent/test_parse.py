from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_searcher.agent.parse import ANSWER_FORM, CALL_FORM, Answer, Mistake, Pick, parse
from gen_searcher.types import ToolCall

CALL = '<tool_call>{"name": "search", "arguments": {"queries": ["polonium"]}}</tool_call>'
ANSWER = '<answer>{"gen_prompt": "a cat", "reference_images": [{"note": "n", "img_id": "IMG_001"}]}</answer>'
READ_CALL = ToolCall(name="search", arguments={"queries": ["polonium"]})
READ_ANSWER = Answer(gen_prompt="a cat", picks=(Pick(note="n", img_id="IMG_001"),))


def mistake(text: str) -> Mistake:
    found = parse(text)
    assert isinstance(found, Mistake)
    return found


def test_a_call_is_read() -> None:
    assert parse(f"<think>hm</think>\n{CALL}") == READ_CALL


def test_an_answer_is_read() -> None:
    assert parse(f"<think>hm</think>\n{ANSWER}") == READ_ANSWER


def test_whichever_of_call_and_answer_comes_first_counts() -> None:
    assert parse(CALL + ANSWER) == READ_CALL
    assert parse(ANSWER + CALL) == READ_ANSWER
    assert parse("<tool_call>{" + ANSWER) == READ_ANSWER


def test_what_follows_a_made_up_tool_response_is_ignored() -> None:
    assert parse(f"{CALL}\n<tool_response>IMG_001</tool_response>{ANSWER}") == READ_CALL
    assert parse(f"<tool_response>x</tool_response>{ANSWER}") == mistake("")


def test_a_call_inside_a_thought_is_only_a_thought() -> None:
    assert parse(f"<think>maybe {CALL}</think>{ANSWER}") == READ_ANSWER


@pytest.mark.fault(40)
def test_two_calls_in_a_turn_are_a_mistake() -> None:
    assert mistake(CALL + CALL) == Mistake(message="2 tool calls in one turn; only one is allowed.", form=CALL_FORM)


def test_neither_is_a_mistake_that_shows_both_forms() -> None:
    assert mistake("I do not know").form == f"{CALL_FORM} or {ANSWER_FORM}"


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<tool_call>{}", "the tool call is not closed"),
        ("<answer>{}", "the answer is not closed"),
        ("<tool_call>{'name': 1}</tool_call>", "the tool call is not valid JSON (Expecting property name"),
        ("<tool_call>[1]</tool_call>", "the tool call is not a JSON object"),
        ('<tool_call>{"name": "x"}</tool_call>', 'the keys "name" and "arguments"'),
        ('<tool_call>{"name": "x", "arguments": [], "id": 1}</tool_call>', 'the keys "name" and "arguments"'),
        ('<tool_call>{"name": NaN, "arguments": {}}</tool_call>', "not valid JSON"),
        ('<answer>{"gen_prompt": "a"}</answer>', 'the keys "gen_prompt" and "reference_images"'),
        ('<answer>{"gen_prompt": " ", "reference_images": []}</answer>', "not empty"),
        ('<answer>{"gen_prompt": "a", "reference_images": {}}</answer>', "must be a list"),
        ('<answer>{"gen_prompt": "a", "reference_images": ["IMG_001"]}</answer>', '"note" and "img_id"'),
        ('<answer>{"gen_prompt": "a", "reference_images": [{"img_id": "IMG_001"}]}</answer>', '"note" and "img_id"'),
        ('<answer>{"gen_prompt": "\\ud800", "reference_images": []}</answer>', "not valid JSON"),
        ("<answer>" + "[" * 100_000 + "</answer>", "not valid JSON"),
        ("<answer>" + "9" * 10_000 + "</answer>", "not valid JSON"),
    ],
)
def test_a_mistake_says_what_is_wrong(text: str, words: str) -> None:
    assert words in mistake(text).message


FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<tool_call>",
                "</tool_call>",
                "<answer>",
                "</answer>",
                "<tool_response>",
                CALL,
                ANSWER,
            ]
        ),
        st.text(max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.integers(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "arguments", "gen_prompt", "reference_images", "note", "img_id"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ).map(json.dumps),
    ),
    max_size=8,
).map("".join)


@pytest.mark.fault(40)
@given(FRAGMENTS)
@settings(max_examples=400, deadline=None)
def test_no_text_raises(text: str) -> None:
    assert isinstance(parse(text), ToolCall | Answer | Mistake)
