"""A scripted teacher that works through the same tools as the policy, and reads its facts from observations.

It stands in for a large model that demonstrates the agent's language. Like one, it is not perfect, and reinforcement
learning is there to make up for what it does wrong:

- it searches once more than it needs to (`oversearch`),
- it takes the first picture it is shown, whatever its title says (`first_picture`),
- it finds out the caption and then forgets to ask for it (`forgets_caption`).

What it knows beforehand is the plan of the task (which relation to look up, `plan_for`), never the facts themselves:
when a fact is not found it tries one other query and then answers with what it has.

Shown the picture drawn from its answer, it mends what it did wrong there: another picture where the first one shown was
not the right one, the caption where it forgot it. An answer that has nothing to mend it keeps.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gen_searcher.types import Completion, Finish, Prompt, Sampling, Task, WeightSource
from gen_searcher.world import canvas
from gen_searcher.world.families import Lookup, fill
from gen_searcher.world.plans import Plan, plan_for
from gen_searcher.world.relations import picture_query, question, subject_in, told, value_in

__all__ = ["FLAWLESS", "Plan", "Teacher", "TeacherFlaws", "plan_for"]

CAPTION = "caption"
"""The slot of the fact that becomes the caption."""
_RESPONSE = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)
_SHOWN = re.compile(r"^(.+) is (IMG_\d+)", re.MULTILINE)
_SLOT = re.compile(r"\{([a-z0-9]+)~?\}")


class Speech(Protocol):
    """The part of the agent's renderer that a teacher needs."""

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode a stretch of conversation, special tokens included."""
        ...

    def encode_completion(self, text: str) -> tuple[int, ...]:
        """Encode what is said, with the end of the turn."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherFlaws:
    """How often the teacher does what a teacher should not, each between 0 and 1."""

    oversearch: float = 0.2
    """Share of tasks with one search that was not needed."""
    first_picture: float = 0.5
    """Share of pictures that are taken because they come first."""
    forgets_caption: float = 0.4
    """Share of captioned tasks whose caption is left out."""


FLAWLESS = TeacherFlaws(oversearch=0.0, first_picture=0.0, forgets_caption=0.0)
"""What the tasks are checked with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fact:
    """A search that is to fill a slot."""

    look: Lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """An image search for a title."""

    title: str
    takes_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extra:
    """A search that nobody needs."""


_Step = _Fact | _Picture | _Extra


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """A picture for the answer."""

    title: str
    img_id: str


class Teacher:
    """Implements `PolicyEngine` for one trajectory at one task."""

    def __init__(self, task: Task, *, renderer: Speech, flaws: TeacherFlaws = FLAWLESS, seed: int) -> None:
        """`seed` decides which flaws show."""
        pick = random.Random(f"{task.id}:{seed}")
        self._plan = plan_for(task)
        self._renderer = renderer
        self._slots = dict(self._plan.given)
        if self._plan.told_caption:
            self._slots[CAPTION] = fill(self._plan.told_caption, self._plan.given)
        self._forgets_caption = pick.random() < flaws.forgets_caption
        self._steps = _steps(self._plan, flaws=flaws, pick=pick)
        self._next = 0
        self._is_retry = False
        self._chosen: list[_Chosen] = []
        self._right: list[_Chosen] = []
        """What a second look at the same results chooses."""
        self._has_answered = False
        self._learnt = ""
        self._caption_fact = ""
        """Said again with the answer: what is written down is what was just recalled."""

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Read the last observation, then say the next thing. `sampling` changes nothing."""
        token_ids = self._renderer.encode_completion(self._say(self._renderer.text(prompt.token_ids)))
        return Completion(
            token_ids=token_ids,
            logprobs=(0.0,) * len(token_ids),
            versions=(-1,) * len(token_ids),
            finish=Finish.STOP,
        )

    async def load_weights(self, version: int, source: WeightSource) -> None:
        """A script has no weights."""

    def _say(self, conversation: str) -> str:
        if self._has_answered:
            return self._look_again()
        observations = _RESPONSE.findall(conversation)
        if observations:
            self._read(observations[-1])
        while self._next < len(self._steps):
            said = self._ask(self._steps[self._next])
            if said is not None:
                return said
            self._next += 1
        self._has_answered = True
        return self._answer(self._chosen, forgets_caption=self._forgets_caption, thought="done")

    def _read(self, observation: str) -> None:
        """Take from the observation what the current step was after; without it, try that step once more."""
        step = self._steps[self._next]
        if isinstance(step, _Fact):
            found = _fact(observation, step.look, known=self._slots[step.look.of])
            if found is not None:
                self._slots[step.look.slot] = found
                known = self._slots[step.look.of]
                self._learnt = f"{told(step.look.relation, known=step.look.known, word=known)}: {found}. "
                if step.look.slot == CAPTION:
                    self._caption_fact = self._learnt
            is_done = found is not None
        elif isinstance(step, _Picture):
            is_done = self._choose(observation, step)
        else:
            is_done = True
        self._next += is_done or self._is_retry
        self._is_retry = not is_done and not self._is_retry

    def _choose(self, observation: str, step: _Picture) -> bool:
        shown = [_Chosen(title=title, img_id=img_id) for title, img_id in _SHOWN.findall(observation)]
        title = fill(step.title, self._slots)
        right = next((picture for picture in shown if picture.title == title), None)
        chosen = shown[0] if shown and step.takes_first else right
        if chosen is None and self._is_retry and shown:
            chosen = shown[0]
        if chosen is not None:
            self._chosen.append(chosen)
            self._right.append(right or chosen)
            self._learnt = ""
        return chosen is not None

    def _ask(self, step: _Step) -> str | None:
        """The call of a step; None when an earlier failure left nothing to ask for."""
        learnt, self._learnt = self._learnt, ""
        if isinstance(step, _Extra):
            query = self._slots[next(iter(self._plan.given))]
            return call_text("search", {"queries": [query]}, thought=f"{learnt}check {query}")
        if isinstance(step, _Fact):
            if step.look.of not in self._slots:
                return None
            known = self._slots[step.look.of]
            query = known if self._is_retry else question(step.look.relation, known=step.look.known, word=known)
            return call_text("search", {"queries": [query]}, thought=f"{learnt}find {query}")
        if any(slot not in self._slots for slot in _SLOT.findall(step.title)):
            return None
        title = fill(step.title, self._slots)
        query = title.rpartition(" of ")[2] if self._is_retry else picture_query(title)
        return call_text("image_search", {"query": query}, thought=f"{learnt}look for {query}")

    def _look_again(self) -> str:
        """Keep the answer, or say what its picture lacks and answer anew."""
        lacks = [f"not {ours.title}" for ours, right in zip(self._chosen, self._right, strict=True) if ours != right]
        lacks += ["no caption"] if self._forgets_caption and CAPTION in self._slots else []
        if not lacks:
            return "<think>right</think>\n<answer>keep</answer>"
        return self._answer(self._right, forgets_caption=False, thought=", ".join(lacks))

    def _answer(self, picks: Sequence[_Chosen], *, forgets_caption: bool, thought: str) -> str:
        caption = None if forgets_caption else self._slots.get(CAPTION)
        words = canvas.wording(layout=self._plan.layout, style=self._plan.style, caption=caption)
        recalled = self._caption_fact if caption is not None else ""
        return answer_text(words, picks=picks, thought=f"{recalled}{thought}")


def call_text(name: Literal["search", "image_search"], arguments: Mapping[str, object], *, thought: str) -> str:
    """A turn that calls a tool."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<think>{thought}</think>\n<tool_call>{call}</tool_call>"


def answer_text(gen_prompt: str, *, picks: Sequence[_Chosen], thought: str) -> str:
    """A turn that answers."""
    references = [{"note": pick.title, "img_id": pick.img_id} for pick in picks]
    answer = json.dumps({"gen_prompt": gen_prompt, "reference_images": references}, ensure_ascii=False)
    return f"<think>{thought}</think>\n<answer>{answer}</answer>"


def _steps(plan: Plan, *, flaws: TeacherFlaws, pick: random.Random) -> tuple[_Step, ...]:
    steps: list[_Step] = [_Fact(look=look) for look in plan.lookups]
    if plan.caption is not None:
        look = Lookup(slot=CAPTION, relation=plan.caption.relation, known="subject", of=plan.caption.of)
        steps.append(_Fact(look=look))
    if pick.random() < flaws.oversearch:
        steps.append(_Extra())
    steps += [_Picture(title=title, takes_first=pick.random() < flaws.first_picture) for title in plan.pictures]
    return tuple(steps)


def _fact(observation: str, look: Lookup, *, known: str) -> str | None:
    if look.known == "subject":
        return value_in(observation, relation=look.relation, subject=known)
    return subject_in(observation, relation=look.relation, value=known)
