"""What the learner's ranks share among each other: the rank with most to do is the one that all wait for."""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.grpo.pack import deal


def longest_share(work_s: Sequence[float], ranks: int) -> float:
    """Work of the fullest rank, dealt as the learner does it, one sample a row.

    Samples are not cut, so no number of ranks makes this less than the longest one.
    """
    return max(sum(work_s[index] for index in own) for own in deal(work_s, ranks))
