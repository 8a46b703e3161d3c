from __future__ import annotations

import io

from gen_searcher.metrics.progress import Progress


def test_the_line_shows_numbers_and_words() -> None:
    progress = Progress("grpo", total=4, out=io.StringIO())
    progress.advance(1, {"reward": 0.12345, "step_s": 123.4, "calls": "12/96 paid"})
    shown = "grpo [######..................] 1/4  1:01  3:03 left  reward 0.123  step_s 123  calls 12/96 paid"
    assert progress.line(61.0) == shown


def test_a_note_is_shown_at_once_and_until_it_is_taken_away() -> None:
    out = io.StringIO()
    progress = Progress("grpo", total=4, out=out)
    progress.advance(1, {"reward": 0.5})
    progress.note("waiting since 12:00:00 UTC: judge down")
    shown = out.getvalue().splitlines()
    assert len(shown) == 2
    assert "waiting" not in shown[0]
    assert shown[1].endswith("reward 0.5  waiting since 12:00:00 UTC: judge down")
    progress.note("")
    assert progress.line(1.0).endswith("reward 0.5")
