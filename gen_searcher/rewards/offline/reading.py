"""What a gen_prompt asks for, in the words that the embedded image model was trained on.

    gen_prompt -> caption_in() | layout_in() | styles_in() -> right_words(): which of them are those of the task

Mentions of the references become `{a}` and `{b}`; then the longest phrase of `canvas.LAYOUTS` and the phrases of
`canvas.STYLES` that occur are looked up. Quoted text and the caption are never read for words.
"""

from __future__ import annotations

import re

from gen_searcher.types import Facts
from gen_searcher.world.canvas import LAYOUTS, STYLES, art_words, caption_in

_QUOTED = re.compile(r'["“„][^"“”]*["”]?')
_THING = r"(?:reference image|reference|image|picture)"
_FIRST = re.compile(
    rf"\b(?:the subject of )?(?:the first(?: {_THING})?|(?:reference image|reference|image|picture) 1|the reference image)\b"
)
_SECOND = re.compile(rf"\b(?:the (?:second|other)(?: {_THING})?|(?:reference image|reference|image|picture) 2)\b")


def right_words(prompt: str, facts: Facts) -> dict[str, bool]:
    """Whether the words for `caption`, `layout` and `style` are those that the facts ask for.

    Capital letters and runs of spaces do not count; plain needs no words; without subjects there must be none for a layout.
    """
    styles = {*styles_in(prompt), *(["plain"] if facts.style == "plain" else [])}
    return {
        "caption": _plain(caption_in(prompt)) == _plain(facts.caption),
        "layout": layout_in(prompt) == (facts.layout if facts.subjects else None),
        "style": styles == {facts.style},
    }


def layout_in(prompt: str) -> str | None:
    """The layout that the prompt's words ask for; None when no reference is mentioned or the words fit none."""
    words = _words(prompt)
    if "{a}" not in words:
        return None
    found: list[tuple[int, str]] = []
    for layout in LAYOUTS.values():
        if ("{b}" in words) != (len(layout.slots) > 1):
            continue
        found += [(len(phrase), layout.name) for phrase in layout.phrases if _occurs(phrase, words)]
    return max(found)[1] if found else None


def styles_in(prompt: str) -> frozenset[str]:
    """Every style that the prompt's words ask for; empty when they name none, which means plain.

    Longer phrases are taken first and their words are used up, so `without a frame` does not also ask for a frame.
    """
    words = _words(prompt)
    found: set[str] = set()
    for phrase, style in _STYLE_PHRASES:
        if _occurs(phrase, words):
            found.add(style)
            words = re.sub(rf"(?<!\w){re.escape(phrase)}(?!\w)", " | ", words)
    return frozenset(found)


def _plain(caption: str | None) -> str:
    return "" if caption is None else " ".join(caption.split()).casefold()


def _words(prompt: str) -> str:
    """Lower case, quoted text and caption cut out, references as `{a}` and `{b}`, single spaces."""
    text = _QUOTED.sub(" | ", art_words(prompt)).lower()
    text = _SECOND.sub("{b}", _FIRST.sub("{a}", re.sub(r"\s+", " ", text)))
    return re.sub(r"\s+", " ", text)


def _occurs(phrase: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", words) is not None


_STYLE_PHRASES = sorted(
    ((phrase, style.name) for style in STYLES.values() for phrase in style.phrases if phrase),
    key=lambda pair: (-len(pair[0]), pair[0]),
)
