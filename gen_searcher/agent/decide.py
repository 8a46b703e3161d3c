"""One completion -> what happens next: a pure decision.

parsed completion -> Run(call) | Correct(message) | Finish(outcome, grounding)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gen_searcher.agent.gallery import Gallery
from gen_searcher.agent.parse import Answer, Mistake, Parsed
from gen_searcher.tools.arguments import find_mistake
from gen_searcher.types import Grounding, Outcome, Reference, ToolCall, Turn

_ID = re.compile(r"\bIMG_\d+")
_SHOWN_IDS = 20
"""Ids that a correction lists at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a tool."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Correct:
    """Tell the policy what to write instead."""

    mistake: Mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The trajectory ends."""

    outcome: Outcome
    grounding: Grounding | None = None
    call: ToolCall | None = None
    """A valid call that is not run any more."""


Decision = Run | Correct | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a decision depends on beside the completion."""

    gallery: Gallery
    turns: Sequence[Turn]
    """The turns before this one."""
    max_references: int
    max_prompt_chars: int | None
    """Longest prompt that the generator takes; None takes any."""
    spent: Outcome | None
    """The budget that is used up, so that this turn must answer; None while it need not."""
    is_cut: bool
    """The completion ended because it was too long."""
    is_repeated: bool
    """The completion says the same as the one before."""


def decide(parsed: Parsed, situation: Situation) -> Decision:
    """What follows from a completion."""
    wrong = find_mistake(parsed) if isinstance(parsed, ToolCall) else None
    call = parsed if isinstance(parsed, ToolCall) and wrong is None else None
    if situation.is_repeated:
        return Finish(outcome=Outcome.REPEATED, call=call)
    if isinstance(parsed, Answer):
        grounding = ground(parsed, situation)
        if isinstance(grounding, Grounding):
            return Finish(outcome=Outcome.GROUNDED, grounding=grounding)
        return _refuse(grounding, situation)
    if call is not None:
        return Run(call=call) if situation.spent is None else Finish(outcome=situation.spent, call=call)
    if isinstance(parsed, Mistake):
        return _refuse(parsed, situation)
    return _refuse(Mistake(message=wrong or "this call cannot be run."), situation)


def ground(answer: Answer, situation: Situation) -> Grounding | Mistake:
    """Check an answer against the pictures that were shown, and against what the generator declares that it takes.

    What it cannot take is the policy's mistake and not the world's failure: the policy may mend it, and earns what a
    malformed answer earns if it does not.
    """
    cited = _ID.search(answer.gen_prompt)
    if cited is not None:
        return Mistake(
            message=f'the generator does not know {cited[0]}. In "gen_prompt" write "the first reference image" '
            "and so on, in the order of your list."
        )
    most_chars = situation.max_prompt_chars
    if most_chars is not None and len(answer.gen_prompt) > most_chars:
        return Mistake(
            message=f'"gen_prompt" has {len(answer.gen_prompt)} characters; the generator takes at most {most_chars}.'
        )
    references: list[Reference] = []
    for pick in answer.picks:
        shown = situation.gallery.get(pick.img_id)
        if shown is None:
            return Mistake(message=_unknown_id(pick.img_id, situation.gallery))
        if all(reference.img_id != shown.img_id for reference in references):
            references.append(
                Reference(
                    img_id=shown.img_id,
                    note=pick.note,
                    title=shown.title,
                    url=shown.url,
                    page_url=shown.page_url,
                    image=shown.image,
                )
            )
    if len(references) > situation.max_references:
        return Mistake(
            message=f"{len(references)} reference images; the generator takes at most {situation.max_references}."
        )
    return Grounding(
        gen_prompt=answer.gen_prompt, references=tuple(references), sources=_sources(situation.turns, references)
    )


def _refuse(mistake: Mistake, situation: Situation) -> Correct | Finish:
    if situation.spent is None:
        hint = " Your turn was cut because it was too long; write less." if situation.is_cut else ""
        return Correct(mistake=replace(mistake, message=mistake.message + hint))
    return Finish(outcome=Outcome.OUT_OF_TOKENS if situation.is_cut else Outcome.MALFORMED)


def _unknown_id(img_id: str, gallery: Gallery) -> str:
    if not gallery.images:
        return f'you were shown no picture, so {img_id[:20]!r} is none. Write "reference_images": [] or search for one.'
    known = ", ".join(image.img_id for image in gallery.images[:_SHOWN_IDS])
    return f"you were shown no picture {img_id[:20]!r}. Write one of {known}."


def _sources(turns: Sequence[Turn], references: Sequence[Reference]) -> tuple[str, ...]:
    read = [url for turn in turns if turn.result is not None for url in turn.result.sources]
    chosen = [url for reference in references for url in (reference.page_url, reference.url)]
    return tuple(url for url in dict.fromkeys([*read, *chosen]) if url)
