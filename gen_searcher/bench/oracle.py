"""What a right answer is made of, for whoever asks why an answer is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gen_searcher.types import Grounding, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededFact:
    """Something that had to be found out."""

    statement: str
    """The sentence in which the world says it."""
    about: str
    """What was known before. An observation says the fact, in whatever words, where one line holds this and `value`."""
    value: str
    """What it tells: words that whoever knows it writes into the next query."""
    after: tuple[int, ...] = ()
    """Places in `Evidence.facts` of what must be known before one can ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededPicture:
    """A reference that had to be chosen."""

    name: str
    sha256s: frozenset[str]
    """Digests of all pictures that are right: the entity's own, accepted ones and look-alikes."""
    after: tuple[int, ...] = ()
    """Places in `Evidence.facts` of what must be known before one can ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that one task's right answer needs, and that answer."""

    facts: tuple[NeededFact, ...]
    """A fact comes after those that it needs."""
    pictures: tuple[NeededPicture, ...]
    """In the order of the task's subjects, which is the order of right references."""
    caption: str | None
    """What the picture must say; None when it must say nothing."""
    caption_fact: int | None
    """Place in `facts` of what the caption says; None when the request tells it, or without a caption."""
    grounding: Grounding
    """What a flawless agent hands in. Its pictures are in the run's store."""


class PromptFault(StrEnum):
    """What words for the generator may get wrong."""

    NO_CAPTION = "no caption"
    OTHER_CAPTION = "another caption"
    UNASKED_CAPTION = "a caption that nobody asked for"
    LAYOUT = "layout"
    STYLE = "style"


class Oracle(Protocol):
    """Knows the right answers of a world."""

    def evidence(self, task: Task) -> Evidence | None:
        """What the task's right answer is made of; None for a task of another world."""
        ...

    def prompt_faults(self, task: Task, prompt: str) -> tuple[PromptFault, ...]:
        """What the words get wrong. Only for tasks that have evidence."""
        ...
