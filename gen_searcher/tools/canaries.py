"""Signs of an injection: observation -> names of the signs in it. They are counted, never acted upon.

What keeps a page from giving orders is elsewhere: its text is delimited data without special tokens
(`agent/render.py`), tools have budgets outside the model (`agent/budget.py`), and judges never read it
(`train/attempt.py`). The count says how often somebody tries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Sign:
    """A phrase, and words of which every form of it holds one: looking for a word is a hundred times cheaper."""

    words: tuple[str, ...]
    phrase: re.Pattern[str]


_SIGNS: Mapping[str, _Sign] = {
    name: _Sign(words, re.compile(phrase, re.IGNORECASE))
    for name, (words, phrase) in {
        "override": (
            ("ignore", "disregard", "forget", "override"),
            r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,30}\b(?:previous|prior|above|earlier|preceding|system)\b"
            r"[^.\n]{0,20}\b(?:instructions?|prompts?|messages?|rules|directions)\b",
        ),
        "address": (
            ("if you are ", "attention ", "dear ", "note to ", "message to ", "message for "),
            r"\b(?:if you are|attention|dear|note to|message (?:to|for))(?: (?:an?|the|any|all))?"
            r" (?:ai|llm|language model|ai assistant|ai agent|chat ?bot)s?\b",
        ),
        "role": (
            ("you are now ", "instruction"),
            r"\byou are now (?:in )?(?:developer mode|jailbroken|unrestricted|dan\b)|\bnew (?:system )?instructions?:",
        ),
        "secret": (
            ("your ",),
            r"\b(?:print|reveal|send|repeat|output|leak|show)\b[^.\n]{0,20}\byour (?:api[ -]?keys?|keys?|passwords?"
            r"|secrets?|system prompt|instructions)\b",
        ),
        "tool": (
            (" times",),
            r"\b(?:call|use|invoke|run) (?:the )?(?:browse|search|image_search)(?: tool)? \d+ times\b",
        ),
        "judge": (
            ("1.0", "10/10", "5/5", "perfect ", "full ", "maximum ", "highest "),
            r"\b(?:score|rate|grade|give)\b[^.\n]{0,30}\b(?:1\.0|10/10|5/5|full marks|(?:perfect|full|maximum|highest)"
            r" (?:score|marks|rating|reward))",
        ),
        "markup": (
            ("<|", "tool_", "inst]", "<<sys>>", "<start_of_turn>"),
            r"<\|\w+\|>|</?tool_(?:call|response)>|\[/?INST\]|<<SYS>>|<start_of_turn>",
        ),
    }.items()
}
"""Name -> the phrase, in English. A page that writes about injections holds them too: read the count as a level."""

_LETTERS = str.maketrans({"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"})
"""What a pattern takes for an ASCII letter when it ignores case, and `str.lower` does not."""

CONFIGURED = "configured"
"""Stands for a text of `agent.tools.canaries`, which is not repeated: it may be a planted secret."""


def canaries_in(text: str, configured: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the signs in `text`, each once."""
    line = " ".join(text.split())
    plain = line.translate(_LETTERS).lower() if not line.isascii() else line.lower()
    found = [
        name for name, sign in _SIGNS.items() if any(word in plain for word in sign.words) and sign.phrase.search(line)
    ]
    if any(canary and canary in text for canary in configured):
        found.append(CONFIGURED)
    return tuple(found)
