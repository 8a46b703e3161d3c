"""The turn after an answer: the policy reads its own picture and keeps the answer or hands in another. Pure decisions.

grounded trajectory, picture -> observation -> completion -> Finish(outcome, grounding)

Whatever is neither `keep` nor a valid answer is malformed, and the attempt ends without a grounding. If the first answer
stood then, nonsense would earn what `keep` earns: nothing would teach the form, and an answer that was meant to be better
but is broken would never be told from one that was meant to stay. It cannot pay either, because `keep` is always there.
"""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.agent.decide import Finish, Situation, ground
from gen_searcher.agent.gallery import Gallery
from gen_searcher.agent.parse import ANSWER_FORM, Answer, answer_body, parse
from gen_searcher.agent.render import Own, Picture
from gen_searcher.config.agent import AgentConfig
from gen_searcher.context import context_tokens
from gen_searcher.types import FoundImage, Grounding, ImageRef, Outcome, Trajectory, Turn

KEEP = "keep"
KEEP_FORM = f"<answer>{KEEP}</answer>"
TITLE = "your picture"
"""Of the policy's own picture; it has no id, because it is no evidence and no reference."""

LOOK: tuple[Own | Picture, ...] = (
    Own(f"{TITLE} is "),
    Picture(),
    Own(f"\nIf it is right, write {KEEP_FORM}. If not, write a better one: {ANSWER_FORM}"),
)
"""What the policy reads after its answer."""


def may_look(trajectory: Trajectory, config: AgentConfig, *, max_images: int) -> bool:
    """Whether there is an answer to draw, and a turn, a picture and context left to look at it.

    Args:
        trajectory: After its answer.
        config: The agent's budgets.
        max_images: Most pictures in the policy's context.
    """
    if trajectory.grounding is None or config.looks == 0:
        return False
    turns = trajectory.turns
    shown = sum(len(turn.images) for turn in turns)
    at_least = context_tokens(turns) + config.answer_tokens
    return 0 < len(turns) < config.max_turns and shown < max_images and at_least < config.max_context_tokens


def shown_before(turns: Sequence[Turn]) -> Gallery:
    """The pictures that tools brought in these turns, under the ids that the policy knows."""
    found = [image for turn in turns if turn.call and turn.result for image in turn.result.images]
    first: dict[str, FoundImage] = {}
    for image in found:
        first.setdefault(image.img_id, image)
    return Gallery(tuple(first.values()))


def own_pictures(trajectory: Trajectory) -> tuple[ImageRef, ...]:
    """The pictures drawn from the policy's answers that it was shown, as they were drawn."""
    looked = [turn.result for turn in trajectory.turns if turn.call is None and turn.result is not None]
    return tuple(image.image for result in looked for image in result.images)


def is_keep(text: str) -> bool:
    """Whether the completion says that the answer stays."""
    body = answer_body(text)
    return body is not None and body.strip() == KEEP


def decide_revision(text: str, first: Grounding, situation: Situation) -> Finish:
    """How the trajectory ends."""
    if is_keep(text):
        return Finish(outcome=Outcome.GROUNDED, grounding=first)
    parsed = parse(text)
    grounding = ground(parsed, situation) if isinstance(parsed, Answer) else None
    if isinstance(grounding, Grounding):
        return Finish(outcome=Outcome.GROUNDED, grounding=grounding)
    return Finish(outcome=Outcome.OUT_OF_TOKENS if situation.is_cut else Outcome.MALFORMED)
