from __future__ import annotations

import json

from gen_searcher.agent.prompt import system_prompt
from gen_searcher.config.agent import AgentConfig
from gen_searcher.tools.arguments import TOOL_SCHEMAS, BrowseArguments, SearchArguments, find_mistake
from gen_searcher.types import ToolCall


def test_the_full_prompt_lists_the_tools_and_the_budgets() -> None:
    text = system_prompt(AgentConfig(max_references=2, max_tool_calls=6, max_turns=7))
    for schema in TOOL_SCHEMAS:
        assert json.dumps(schema) in text
    assert "6 tool calls and 7 turns" in text
    assert "at most 2 pictures" in text
    assert "{max_" not in text
    assert "{tools}" not in text


def test_the_brief_prompt_has_at_most_sixty_words() -> None:
    text = system_prompt(AgentConfig(prompt="brief", max_references=3))
    assert len(text.split()) <= 60
    assert "at most 3 images" in text


def test_the_date_is_told_only_when_it_is_set() -> None:
    assert system_prompt(AgentConfig(today="2026-05-01")).endswith("\nToday is 2026-05-01.")
    assert "Today" not in system_prompt(AgentConfig())


def test_a_wrong_call_is_told_what_to_write() -> None:
    assert find_mistake(ToolCall(name="search", arguments={"queries": ["a"]})) is None
    assert find_mistake(ToolCall(name="browse", arguments={"url": "u", "query": "q"})) is None
    unknown = find_mistake(ToolCall(name="visit", arguments={}))
    assert unknown == "there is no tool 'visit'. The tools are search, image_search, browse."
    missing = find_mistake(ToolCall(name="browse", arguments={"url": "u"}))
    assert missing == (
        'browse: query: Field required. Write {"name": "browse", "arguments": {"url": "http://...", "query": "..."}}'
    )
    for arguments in (
        {"queries": ""},
        {"queries": []},
        {"queries": ["a"] * 6},
        {"queries": "a", "query": "b"},
        {"queries": ["a"], "goal": "b"},
        {"queries": ["a"], "top_k": 0},
    ):
        assert find_mistake(ToolCall(name="search", arguments=arguments)) is not None


def test_arguments_under_their_other_names_mean_the_same() -> None:
    for arguments in ({"queries": "a"}, {"query": "a"}, {"query": ["a"], "top_k": 3}):
        assert find_mistake(ToolCall(name="search", arguments=arguments)) is None
        assert SearchArguments.model_validate(arguments).queries == ["a"]
    assert BrowseArguments.model_validate({"url": "u", "goal": "g"}).query == "g"
    assert BrowseArguments.model_validate({"url": ["u", "v"], "query": "g"}).url == ["u", "v"]
    for arguments in (
        {"url": [], "query": "g"},
        {"url": ["u"] * 6, "query": "g"},
        {"url": "u", "query": "g", "goal": "g"},
    ):
        assert find_mistake(ToolCall(name="browse", arguments=arguments)) is not None
