"""How the attempts came by their pictures, in two sentences: shares first, then the reasons of those that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gen_searcher.drawing import DrawnHow
from gen_searcher.metrics.report.read import Entry

WORDS = {
    DrawnHow.DRAWN: "drawn",
    DrawnHow.REUSED: "taken over from a sibling with the same grounding",
    DrawnHow.SKIPPED: "skipped",
    DrawnHow.UNWANTED: "not wanted",
    DrawnHow.REFUSED: "refused by the image model",
}
PICTURELESS = (DrawnHow.SKIPPED, DrawnHow.UNWANTED, DrawnHow.REFUSED)
REASONS = 6
"""Most reasons that are printed; hosted models refuse in many words."""


def drawing_lines(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Sentences for the page; empty for a run that recorded no drawings. Lost attempts are not counted."""
    scored = [entry for entry in entries if entry.outcome != "lost"]
    counts = Counter(entry.drawn for entry in scored if entry.drawn is not None)
    if not counts:
        return ()
    shares = [f"{WORDS[how]} {counts[how] / len(scored):.0%}" for how in DrawnHow if counts[how]]
    without = len(scored) - counts.total()
    shares += [f"without a grounding {without / len(scored):.0%}"] if without else []
    lines = [f"Pictures of {len(scored):,} attempts: {', '.join(shares)}."]
    reasons = Counter(f"{WORDS[e.drawn]}: {e.reason}" for e in scored if e.drawn in PICTURELESS and e.drawn is not None)
    if reasons:
        named = [f"{reason} ({count:,})" for reason, count in reasons.most_common(REASONS)]
        left = len(reasons) - len(named)
        lines.append(f"Why there is none: {'; '.join(named)}{f'; and {left} more reasons' if left else ''}.")
    return tuple(lines)
