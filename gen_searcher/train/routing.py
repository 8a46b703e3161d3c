"""Which worker gets the next call: the idlest one, but what belongs together stays together as long as that is fair."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Container, Iterable
from dataclasses import dataclass

from gen_searcher.train.seeds import derive_seed

REMEMBERED = 4096
"""Keys whose worker is known: more than a step has tasks, and a hundred bytes each."""
SHARED_PREFIX_CALLS = 4
"""Slack of attempts at one task. A shared prefix saves the prefill of one request in some ten that a trajectory reads; an
engine that is four trajectories behind the idlest loses more."""
ALWAYS = 1 << 30
"""Slack of what is done once where it was done before, and again anywhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Calls that gain by going to one worker."""

    key: int
    """Equal for calls that belong together."""
    slack: int
    """Calls more than the idlest worker that the favourite may have."""


class Router:
    """Counts the calls of each worker. A choice costs the logarithm of the number of workers."""

    def __init__(self, workers: int) -> None:
        """`workers` are numbered from 0; none has a call."""
        self._calls = dict.fromkeys(range(workers), 0)
        self._by_calls = [(0, index) for index in range(workers)]
        self._favourites: OrderedDict[int, int] = OrderedDict()

    @property
    def calls(self) -> tuple[int, ...]:
        """Calls in flight of each worker."""
        return tuple(self._calls.values())

    def join(self, index: int) -> None:
        """There is another worker, without a call."""
        self._calls[index] = 0
        heapq.heappush(self._by_calls, (0, index))

    def leave(self, index: int) -> None:
        """The worker gets no more calls. Those that it has are not counted any more."""
        del self._calls[index]

    def began(self, index: int) -> None:
        """The worker got a call."""
        self._change(index, 1)

    def ended(self, index: int) -> None:
        """One of the worker's calls came back or was given up."""
        if index in self._calls:
            self._change(index, -1)

    def idlest(self, healthy: Container[int]) -> int:
        """The healthy worker with the fewest calls, the first of several. Raises LookupError when none is healthy."""
        passed: list[tuple[int, int]] = []
        try:
            while self._by_calls:
                calls, index = self._by_calls[0]
                is_now = calls == self._calls.get(index)
                if is_now and index in healthy:
                    return index
                heapq.heappop(self._by_calls)
                if is_now:
                    passed.append((calls, index))
        finally:
            for entry in passed:
                heapq.heappush(self._by_calls, entry)
        raise LookupError("no worker is healthy")

    def near(self, key: int, healthy: Container[int], *, slack: int) -> int:
        """The worker that had `key` last, unless it has over `slack` calls more than the idlest; then that one.

        Raises:
            LookupError: No worker is healthy.
        """
        index = self.idlest(healthy)
        favourite = self._favourites.get(key)
        if favourite is not None and favourite in healthy and self._calls[favourite] <= self._calls[index] + slack:
            index = favourite
        self._favourites[key] = index
        self._favourites.move_to_end(key)
        if len(self._favourites) > REMEMBERED:
            self._favourites.popitem(last=False)
        return index

    def _change(self, index: int, by: int) -> None:
        self._calls[index] += by
        heapq.heappush(self._by_calls, (self._calls[index], index))
        if len(self._by_calls) > 4 * len(self._calls) + 64:
            self._by_calls = _heap((calls, index) for index, calls in self._calls.items())


def home(key: int, workers: Iterable[int]) -> int:
    """The worker of a key, the same for everybody who knows the same workers.

    One that joins takes its share of the keys and moves no others; one that leaves gives its own to all the rest. (Highest
    random weight: Thaler and Ravishankar 1998, https://doi.org/10.1109/90.663936.)
    """
    return max(workers, key=lambda worker: (derive_seed(key, worker), worker))


def _heap(entries: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    heap = list(entries)
    heapq.heapify(heap)
    return heap
