"""What a trajectory has spent, and what it may still spend: pure decisions, no state.

A token here is a token of the policy's context: a picture counts as its vision tokens, not as its one placeholder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.config.agent import AgentConfig
from gen_searcher.types import ImageRef, Outcome

VISION_PATCH_PX = 32
"""A vision token of Qwen3-VL covers 32 x 32 px (patches of 16, merged two by two)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What is gone."""

    turns: int = 0
    tool_calls: int = 0
    context_tokens: int = 0
    pictures: int = 0
    """Shown, each as often as it was."""


def vision_tokens(view: ImageRef) -> int:
    """How many tokens the policy sees for one picture."""
    return (view.width_px // VISION_PATCH_PX) * (view.height_px // VISION_PATCH_PX)


def context_tokens(token_count: int, views: Sequence[ImageRef]) -> int:
    """The length of a stretch of context: its tokens, with each placeholder counted as its vision tokens."""
    return token_count + sum(vision_tokens(view) - 1 for view in views)


def spent_budget(spent: Spent, config: AgentConfig) -> Outcome | None:
    """The budget that leaves room for one answer only, or None while the policy may go on searching."""
    if spent.turns + 1 >= config.max_turns or spent.tool_calls >= config.max_tool_calls:
        return Outcome.OUT_OF_TURNS
    return None


def has_room(spent: Spent, config: AgentConfig, *, tokens: int) -> bool:
    """Whether `tokens` more of observation still leave the room that an answer needs."""
    return spent.context_tokens + tokens + config.answer_tokens <= config.max_context_tokens


def pictures_left(spent: Spent, max_images: int | None) -> int | None:
    """How many more pictures the engine takes in this context; None when it takes any number."""
    return None if max_images is None else max(0, max_images - spent.pictures)


def most_pictures(config: AgentConfig) -> int:
    """How many pictures a trajectory can come by while calls and turns last: those that tools bring and a look's."""
    calls = min(config.max_tool_calls, config.max_turns - 1)
    return calls * config.tools.images_per_search + config.looks


def completion_tokens(spent: Spent, config: AgentConfig) -> int:
    """How long the next completion may be; 0 or less when there is no room."""
    return min(config.max_turn_tokens, config.max_context_tokens - spent.context_tokens)
