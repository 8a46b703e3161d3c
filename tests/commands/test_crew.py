"""What the agents of every command are told of the engine and of the generators."""

from __future__ import annotations

import ast
from pathlib import Path

import gen_searcher
from gen_searcher.commands.crew import shortest_limit
from gen_searcher.config.plug import Plug
from gen_searcher.engines.hosted.openai_images import MAX_PROMPT_CHARS

OPENAI = "gen_searcher.engines.hosted.openai_images.OpenAIImages"
COMPOSITOR = "gen_searcher.engines.compositor.Compositor"


def test_a_prompt_must_suit_every_generator_that_draws_it() -> None:
    hosted = Plug(target=OPENAI, keywords={"model": "m", "base_url": "http://a", "key": "env:NONE"})
    local = Plug(target=COMPOSITOR, keywords={})
    assert shortest_limit([local]) is None
    assert shortest_limit([local, hosted]) == MAX_PROMPT_CHARS


def test_every_agent_is_told_how_many_pictures_and_how_long_a_prompt_may_be() -> None:
    package = Path(gen_searcher.__file__).parent
    made = [
        {keyword.arg for keyword in node.keywords}
        for path in package.rglob("*.py")
        if "testing" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Agent"
    ]
    assert made
    assert all({"max_images", "max_prompt_chars"} <= names for names in made)
