"""The embedded world's right answers: the plan of a task with the words that the world itself fills in."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gen_searcher.bench.oracle import Evidence, NeededFact, NeededPicture, PromptFault
from gen_searcher.image_store import ImageStore, picture_ref
from gen_searcher.rewards.offline.reading import right_words
from gen_searcher.types import Grounding, Reference, Subject, Task
from gen_searcher.world import canvas
from gen_searcher.world.bindings import Binding, bindings
from gen_searcher.world.families import GIVEN, Lookup
from gen_searcher.world.more_families import ALL_FAMILIES
from gen_searcher.world.plans import Plan, plan_for
from gen_searcher.world.relations import sentence
from gen_searcher.world.world import World, page_url

_SLOT = re.compile(r"\{([a-z0-9]+)~?\}")


class EmbeddedOracle:
    """Implements `Oracle`. It knows the world as it ships: under adversity the truth stays the truth."""

    def __init__(self, *, store: ImageStore) -> None:
        """`store` takes the reference pictures of right answers."""
        self._store = store
        self._world = World.load()
        self._digests: dict[str, str] = {}

    def evidence(self, task: Task) -> Evidence | None:
        """None for a task of another world, or of another version of this one."""
        if task.meta.get("family") not in ALL_FAMILIES:
            return None
        binding = _binding(task)
        if binding is None:
            return None
        plan = plan_for(task)
        place = {look.slot: index for index, look in enumerate(plan.lookups)}
        facts = [_fact(look, binding, place) for look in plan.lookups]
        if plan.caption is not None:
            facts.append(_caption_fact(task, plan, binding, place))
        return Evidence(
            facts=tuple(facts),
            pictures=tuple(
                self._picture(subject, after=_places(_SLOT.findall(title), place))
                for subject, title in zip(task.facts.subjects, plan.pictures, strict=True)
            ),
            caption=task.facts.caption,
            caption_fact=None if plan.caption is None else len(plan.lookups),
            grounding=self._grounding(task),
        )

    def prompt_faults(self, task: Task, prompt: str) -> tuple[PromptFault, ...]:
        """Read as the embedded generator was taught to read."""
        right = right_words(prompt, task.facts)
        found: list[PromptFault] = []
        if not right["caption"] and task.facts.caption is None:
            found.append(PromptFault.UNASKED_CAPTION)
        elif not right["caption"]:
            said = canvas.caption_in(prompt)
            found.append(PromptFault.NO_CAPTION if said is None else PromptFault.OTHER_CAPTION)
        found += [] if right["layout"] else [PromptFault.LAYOUT]
        found += [] if right["style"] else [PromptFault.STYLE]
        return tuple(found)

    def _grounding(self, task: Task) -> Grounding:
        facts = task.facts
        references: list[Reference] = []
        for number, subject in enumerate(facts.subjects, start=1):
            entity = self._world.entities[subject.entity]
            reference = Reference(
                img_id=f"IMG_{number:03d}",
                note=entity.name,
                title=entity.name,
                url=entity.picture_url,
                page_url=page_url(entity.page_id),
                image=self._store.put(self._world.picture(entity.id)),
            )
            references.append(reference)
        words = canvas.wording(layout=facts.layout, style=facts.style, caption=facts.caption)
        return Grounding(
            gen_prompt=words, references=tuple(references), sources=tuple(one.page_url for one in references)
        )

    def _picture(self, subject: Subject, *, after: tuple[int, ...]) -> NeededPicture:
        right = {subject.entity, *subject.accepted, *self._world.look_alikes(subject.entity)}
        return NeededPicture(name=subject.name, sha256s=frozenset(map(self._digest, right)), after=after)

    def _digest(self, entity_id: str) -> str:
        if entity_id not in self._digests:
            self._digests[entity_id] = picture_ref(self._world.picture(entity_id)).sha256
        return self._digests[entity_id]


def _binding(task: Task) -> Binding | None:
    """The words of all slots, hidden ones included, that the task was made from."""
    given = {key.removeprefix(GIVEN): value for key, value in task.meta.items() if key.startswith(GIVEN)}
    entities = tuple(subject.entity for subject in task.facts.subjects)
    return next(
        (
            one
            for one in bindings(task.meta["family"])
            if one.entities == entities and all(one.slots[slot] == value for slot, value in given.items())
        ),
        None,
    )


def _fact(look: Lookup, binding: Binding, place: dict[str, int]) -> NeededFact:
    known, found = binding.slots[look.of], binding.slots[look.slot]
    subject, value = (known, found) if look.known == "subject" else (found, known)
    statement = sentence(look.relation, subject=subject, value=value)
    return NeededFact(statement=statement, about=known, value=found, after=_places([look.of], place))


def _caption_fact(task: Task, plan: Plan, binding: Binding, place: dict[str, int]) -> NeededFact:
    if plan.caption is None or task.facts.caption is None:
        raise ValueError(f"task {task.id} looks up a caption and asks for none")
    of, value = plan.caption.of, task.facts.caption
    subject = binding.slots[of]
    statement = sentence(plan.caption.relation, subject=subject, value=value)
    return NeededFact(statement=statement, about=subject, value=value, after=_places([of], place))


def _places(slots: Iterable[str], place: dict[str, int]) -> tuple[int, ...]:
    """Places of the facts that fill these slots; a slot that the request tells has none."""
    return tuple(place[slot] for slot in slots if slot in place)
