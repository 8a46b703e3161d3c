"""What a trajectory has spent, and what it may still spend: pure decisions, no state. Tokens are those of `context`."""

from __future__ import annotations

from dataclasses import dataclass

from gen_searcher.config.agent import AgentConfig
from gen_searcher.types import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What is gone."""

    turns: int = 0
    tool_calls: int = 0
    context_tokens: int = 0
    pictures: int = 0
    """Shown, each as often as it was."""


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
