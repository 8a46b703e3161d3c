"""Completion text -> one call, one answer, or a mistake with what to write instead. Strict and total: never raises.

A thought ends at the first `</think>`. Text from a `<tool_response>` on is the policy talking to itself and is
ignored. Of a call and an answer in one turn, the one written first counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from gen_searcher.types import ToolCall

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)

CALL_FORM = '<tool_call>{"name": "search", "arguments": {"queries": ["..."]}}</tool_call>'
ANSWER_FORM = '<answer>{"gen_prompt": "...", "reference_images": [{"note": "...", "img_id": "IMG_001"}]}</answer>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One reference of an answer, not yet checked against the pictures that were shown."""

    note: str
    img_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the right form."""

    gen_prompt: str
    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Why a completion counts as nothing, in words for the policy."""

    message: str
    """What is wrong; may quote the policy."""
    form: str = ""
    """What to write instead; our own words, tags and all."""


Parsed = ToolCall | Answer | Mistake


def parse(text: str) -> Parsed:
    """Read one completion."""
    said = _said(text)
    body = answer_body(text)
    if body is not None:
        return _answer(body)
    calls = list(_CALL.finditer(said))
    if len(calls) > 1:
        return Mistake(message=f"{len(calls)} tool calls in one turn; only one is allowed.", form=CALL_FORM)
    if calls:
        return _call(calls[0][1])
    if "<tool_call>" in said:
        return Mistake(message="the tool call is not closed.", form=CALL_FORM)
    if "<answer>" in said:
        return Mistake(message="the answer is not closed.", form=ANSWER_FORM)
    return Mistake(message="no tool call and no answer.", form=f"{CALL_FORM} or {ANSWER_FORM}")


def answer_body(text: str) -> str | None:
    """What stands in the answer of a completion, valid or not; None when it holds none, or a call before it."""
    said = _said(text)
    call, answer = _CALL.search(said), _ANSWER.search(said)
    return answer[1] if answer is not None and (call is None or answer.start() < call.start()) else None


def _said(text: str) -> str:
    spoken = text.split("<tool_response>", 1)[0]
    _, closed, after = spoken.partition("</think>")
    return after if closed else spoken


def _call(body: str) -> ToolCall | Mistake:
    value = _json_object(body)
    if isinstance(value, Mistake):
        return Mistake(message=f"the tool call {value.message}.", form=CALL_FORM)
    name, arguments = value.get("name"), value.get("arguments")
    if set(value) != {"name", "arguments"} or not isinstance(name, str) or not isinstance(arguments, dict):
        return Mistake(message='a tool call has the keys "name" and "arguments" and no others.', form=CALL_FORM)
    return ToolCall(name=name, arguments=cast("dict[str, object]", arguments))


def _answer(body: str) -> Answer | Mistake:
    value = _json_object(body)
    if isinstance(value, Mistake):
        return Mistake(message=f"the answer {value.message}.", form=ANSWER_FORM)
    if set(value) != {"gen_prompt", "reference_images"}:
        return Mistake(
            message='an answer has the keys "gen_prompt" and "reference_images" and no others.', form=ANSWER_FORM
        )
    gen_prompt, listed = value["gen_prompt"], value["reference_images"]
    if not isinstance(gen_prompt, str) or not gen_prompt.strip():
        return Mistake(message='"gen_prompt" must be a text that is not empty.', form=ANSWER_FORM)
    if not isinstance(listed, list):
        return Mistake(message='"reference_images" must be a list, [] for none.', form=ANSWER_FORM)
    picks: list[Pick] = []
    for entry in cast("list[object]", listed):
        pick = _pick(entry)
        if pick is None:
            return Mistake(message='each reference image has the keys "note" and "img_id".', form=ANSWER_FORM)
        picks.append(pick)
    return Answer(gen_prompt=gen_prompt.strip(), picks=tuple(picks))


def _pick(entry: object) -> Pick | None:
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, object]", entry)
    note, img_id = fields.get("note"), fields.get("img_id")
    if set(fields) != {"note", "img_id"} or not isinstance(note, str) or not isinstance(img_id, str):
        return None
    return Pick(note=note, img_id=img_id)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _json_object(body: str) -> Mapping[str, object] | Mistake:
    try:
        value: object = json.loads(body, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # escapes can spell lone surrogates, which no file takes
    except json.JSONDecodeError as error:
        return Mistake(message=f"is not valid JSON ({error.msg} at character {error.pos})")
    except (ValueError, RecursionError):
        return Mistake(message="is not valid JSON")
    if not isinstance(value, dict):
        return Mistake(message="is not a JSON object")
    return cast("dict[str, object]", value)
