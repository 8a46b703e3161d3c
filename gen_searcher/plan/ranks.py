"""What the learner's ranks share among each other: the rank with most to do is the one that all wait for."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def longest_share(work_s: Sequence[float], ranks: int) -> float:
    """Work of the fullest rank, split as `grpo.pack.split_rows` does: whole samples, longest first, equally many places.

    Samples are not cut, so no number of ranks makes this less than the longest one.
    """
    if ranks == 1:
        return sum(work_s)
    places = -(-len(work_s) // ranks)
    taken = [0] * ranks
    load_s = [0.0] * ranks
    open_ranks = [(0.0, rank) for rank in range(ranks)]
    for one_s in sorted(work_s, reverse=True):
        load, rank = heapq.heappop(open_ranks)
        load_s[rank] = load + one_s
        taken[rank] += 1
        if taken[rank] < places:
            heapq.heappush(open_ranks, (load_s[rank], rank))
    return max(load_s)
