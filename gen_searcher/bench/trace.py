"""What the observations and calls of one attempt say about what it lacks: trajectory + evidence -> findings.

A fact is *used* when its value stands in a call, *seen* when a line of an observation says it, else *unseen*. Facts are
followed from the request on, so what is found is the first step that went wrong, not what came of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from gen_searcher.bench.links import Finding, Link
from gen_searcher.bench.oracle import Evidence, NeededFact, NeededPicture, PromptFault
from gen_searcher.types import Reference, Trajectory


class Trace:
    """One attempt, read with the evidence in hand."""

    def __init__(self, trajectory: Trajectory, evidence: Evidence) -> None:
        """Nothing is asked of anybody."""
        self._evidence = evidence
        self._grounding = trajectory.grounding
        results = [turn.result for turn in trajectory.turns]
        self._texts = ["" if result is None else result.text for result in results]
        self._calls = [
            "" if turn.call is None else json.dumps(dict(turn.call.arguments), ensure_ascii=False)
            for turn in trajectory.turns
        ]
        found = [image for result in results if result is not None for image in result.images]
        self._shown = {image.image.sha256 for image in found}

    def of_references(self) -> list[Finding]:
        """What is wrong with the chosen references, one finding per picture; empty when they are right."""
        chosen = self._grounding.references if self._grounding is not None else ()
        needed = self._evidence.pictures
        found: list[Finding] = []
        for place, picture in enumerate(needed):
            own = chosen[place] if place < len(chosen) else None
            if own is None or own.image.sha256 not in picture.sha256s:
                found.append(self._of_picture(picture, chosen))
        if not found and len(chosen) > len(needed):
            many = f"{len(chosen)} references were handed in and {len(needed)} asked for"
            found.append(Finding(link=Link.GROUNDING, why=many))
        return found

    def of_prompt(self, faults: Sequence[PromptFault]) -> list[Finding]:
        """Where each fault of the prompt comes from."""
        return [self._of_fault(fault) for fault in faults]

    def of_lacking(self) -> list[Finding]:
        """What kept an attempt from a grounding: what it never got hold of; with all in hand, handing it in."""
        missing = [self._missing(picture.after) for picture in self._evidence.pictures]
        missing += [
            Finding(link=Link.SEARCH, why=f"the picture {picture.name!r} was never shown")
            for picture in self._evidence.pictures
            if not picture.sha256s & self._shown
        ]
        fact = self._evidence.caption_fact
        missing += [] if fact is None else [self._missing((fact,), is_end=True)]
        found = [finding for finding in missing if finding is not None]
        return found or [Finding(link=Link.GROUNDING, why="all that was needed had been shown, and no answer came")]

    def _of_picture(self, picture: NeededPicture, chosen: Sequence[Reference]) -> Finding:
        if any(reference.image.sha256 in picture.sha256s for reference in chosen):
            return Finding(link=Link.GROUNDING, why=f"{picture.name!r} is handed in at another place")
        missing = self._missing(picture.after)
        if missing is not None:
            return missing
        if picture.sha256s & self._shown:
            instead = ", ".join(reference.title for reference in chosen) or "nothing"
            return Finding(link=Link.SELECTION, why=f"{picture.name!r} was shown; chosen was {instead}")
        return Finding(link=Link.SEARCH, why=f"the picture {picture.name!r} was never shown")

    def _of_fault(self, fault: PromptFault) -> Finding:
        place = self._evidence.caption_fact
        if fault in (PromptFault.NO_CAPTION, PromptFault.OTHER_CAPTION) and place is not None:
            missing = self._missing((place,), is_end=True)
            if missing is not None:
                return missing
            statement = self._evidence.facts[place].statement
            if fault is PromptFault.OTHER_CAPTION:
                return Finding(link=Link.READING, why=f"{statement!r} was read, and the caption says otherwise")
            return Finding(link=Link.GROUNDING, why=f"{statement!r} was read, and the prompt asks for no caption")
        return Finding(link=Link.GROUNDING, why=f"the prompt is wrong: {fault}")

    def _missing(self, places: Sequence[int], *, is_end: bool = False) -> Finding | None:
        """The first fact on the way that was not found or not used; `is_end`: the last one needs no further call."""
        for place in places:
            fact = self._evidence.facts[place]
            if not is_end and self._is_asked_with(fact):
                continue
            seen_at = self._seen_at(fact)
            if seen_at is None:
                unseen = Finding(link=Link.SEARCH, why=f"no observation says {fact.statement!r}")
                return self._missing(fact.after) or unseen
            if not is_end and self._goes_on_after(seen_at):
                return Finding(link=Link.READING, why=f"{fact.statement!r} was read, and {fact.value!r} never used")
        return None

    def _seen_at(self, fact: NeededFact) -> int | None:
        """The first turn with a line that says the fact: in the world's words, a summarizer's, or anybody's."""
        about, value = _words(fact.about), _words(fact.value)
        for turn, text in enumerate(self._texts):
            if any(about.search(line) and value.search(line) for line in text.splitlines()):
                return turn
        return None

    def _is_asked_with(self, fact: NeededFact) -> bool:
        value = _words(fact.value)
        return any(value.search(call) for call in self._calls)

    def _goes_on_after(self, turn: int) -> bool:
        """Whether there was a chance to use what that turn brought: a later call, or an answer."""
        return self._grounding is not None or any(self._calls[turn + 1 :])


def _words(text: str) -> re.Pattern[str]:
    """Finds these words, whole, in small or capital letters."""
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.IGNORECASE)
