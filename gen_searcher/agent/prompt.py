"""Settings -> the system prompt: a text file, the tools' schemas, and the date when one is told."""

from __future__ import annotations

import json
from importlib import resources

from gen_searcher.config.agent import AgentConfig
from gen_searcher.tools.arguments import TOOL_SCHEMAS

_FILES = {"full": "system.txt", "brief": "brief.txt"}
_LOOKS = {"full": "look.txt", "brief": "brief_look.txt"}
"""What is added when the policy is shown its picture."""


def system_prompt(config: AgentConfig) -> str:
    """The text that opens every conversation of a run."""
    text = _read(_FILES[config.prompt])
    if config.looks:
        text += f"\n{_read(_LOOKS[config.prompt])}"
    values = {
        "tools": "\n".join(json.dumps(schema, ensure_ascii=False) for schema in TOOL_SCHEMAS),
        "max_references": str(config.max_references),
        "max_tool_calls": str(config.max_tool_calls),
        "max_turns": str(config.max_turns),
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return f"{text}\nToday is {config.today}." if config.today else text


def _read(name: str) -> str:
    return resources.files("gen_searcher.agent").joinpath("prompts", name).read_text("utf-8").strip()
