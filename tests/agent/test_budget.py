from __future__ import annotations

from gen_searcher.agent.budget import (
    Spent,
    completion_tokens,
    has_room,
    most_pictures,
    pictures_left,
    spent_budget,
)
from gen_searcher.config.agent import AgentConfig
from gen_searcher.types import Outcome

CONFIG = AgentConfig(max_turns=4, max_tool_calls=2, max_context_tokens=1000, max_turn_tokens=100, answer_tokens=50)


def test_the_last_turn_and_the_turn_after_the_last_call_must_answer() -> None:
    assert spent_budget(Spent(turns=2, tool_calls=1), CONFIG) is None
    assert spent_budget(Spent(turns=3, tool_calls=1), CONFIG) is Outcome.OUT_OF_TURNS
    assert spent_budget(Spent(turns=2, tool_calls=2), CONFIG) is Outcome.OUT_OF_TURNS


def test_an_observation_must_leave_room_for_the_answer() -> None:
    assert has_room(Spent(context_tokens=900), CONFIG, tokens=50)
    assert not has_room(Spent(context_tokens=900), CONFIG, tokens=51)


def test_a_completion_ends_with_the_turn_or_the_context() -> None:
    assert completion_tokens(Spent(context_tokens=0), CONFIG) == 100
    assert completion_tokens(Spent(context_tokens=940), CONFIG) == 60


def test_a_context_has_places_for_pictures_as_long_as_the_engine_takes_more() -> None:
    assert pictures_left(Spent(pictures=3), 5) == 2
    assert pictures_left(Spent(pictures=7), 5) == 0
    assert pictures_left(Spent(pictures=7), None) is None


def test_calls_or_turns_bound_how_many_pictures_can_come() -> None:
    assert most_pictures(CONFIG) == 2 * 5
    assert most_pictures(CONFIG.model_copy(update={"max_turns": 2, "looks": 1})) == 1 * 5 + 1
