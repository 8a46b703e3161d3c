from __future__ import annotations

import io

from gen_searcher.metrics.progress import Progress


def test_the_line_shows_numbers_and_words() -> None:
    progress = Progress("grpo", total=4, out=io.StringIO())
    progress.advance(1, {"reward": 0.12345, "step_s": 123.4, "calls": "12/96 paid"})
    shown = "grpo [######..................] 1/4  1:01  3:03 left  reward 0.123  step_s 123  calls 12/96 paid"
    assert progress.line(61.0) == shown
