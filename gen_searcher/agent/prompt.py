"""Settings -> the system prompt: a text file, the tools' schemas, and the date when one is told."""

from __future__ import annotations

import json
from importlib import resources

from gen_searcher.config.agent import AgentConfig
from gen_searcher.tools.arguments import TOOL_SCHEMAS

_FILES = {"full": "system.txt", "brief": "brief.txt"}


def system_prompt(config: AgentConfig) -> str:
    """The text that opens every conversation of a run."""
    text = resources.files("gen_searcher.agent").joinpath("prompts", _FILES[config.prompt]).read_text("utf-8").strip()
    values = {
        "tools": "\n".join(json.dumps(schema, ensure_ascii=False) for schema in TOOL_SCHEMAS),
        "max_references": str(config.max_references),
        "max_tool_calls": str(config.max_tool_calls),
        "max_turns": str(config.max_turns),
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return f"{text}\nToday is {config.today}." if config.today else text
