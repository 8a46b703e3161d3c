"""Signs of an injection: observation -> names of the signs in it. They are counted, never acted upon.

What keeps a page from giving orders is elsewhere: its text is delimited data without special tokens
(`agent/render.py`), tools have budgets outside the model (`agent/budget.py`), and judges never read it
(`train/attempt.py`). The count says how often somebody tries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SIGNS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "override": r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,30}\b(?:previous|prior|above|earlier|preceding|system)\b"
        r"[^.\n]{0,20}\b(?:instructions?|prompts?|messages?|rules|directions)\b",
        "address": r"\b(?:if you are|attention|dear|note to|message (?:to|for))(?: (?:an?|the|any|all))?"
        r" (?:ai|llm|language model|ai assistant|ai agent|chat ?bot)s?\b",
        "role": r"\byou are now (?:in )?(?:developer mode|jailbroken|unrestricted|dan\b)|\bnew (?:system )?instructions?:",
        "secret": r"\b(?:print|reveal|send|repeat|output|leak|show)\b[^.\n]{0,20}\byour (?:api[ -]?keys?|keys?|passwords?"
        r"|secrets?|system prompt|instructions)\b",
        "tool": r"\b(?:call|use|invoke|run) (?:the )?(?:browse|search|image_search)(?: tool)? \d+ times\b",
        "judge": r"\b(?:score|rate|grade|give)\b[^.\n]{0,30}\b(?:1\.0|10/10|5/5|full marks|(?:perfect|full|maximum|highest)"
        r" (?:score|marks|rating|reward))",
        "markup": r"<\|\w+\|>|</?tool_(?:call|response)>|\[/?INST\]|<<SYS>>|<start_of_turn>",
    }.items()
}
"""Name -> the phrase, in English. A page that writes about injections holds them too: read the count as a level."""

CONFIGURED = "configured"
"""Stands for a text of `agent.tools.canaries`, which is not repeated: it may be a planted secret."""


def canaries_in(text: str, configured: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the signs in `text`, each once."""
    line = " ".join(text.split())
    found = [name for name, sign in _SIGNS.items() if sign.search(line)]
    if any(canary and canary in text for canary in configured):
        found.append(CONFIGURED)
    return tuple(found)
