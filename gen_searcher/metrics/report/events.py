"""What the world and the trainer did to an attempt, apart from what the policy did: the page shows it in a colour of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gen_searcher.metrics.report.read import Entry
from gen_searcher.types import Attempt, ToolKind


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """One event."""

    kind: str
    """`lost try`, `tool failed`, `tool retried`, `injection`, `new weights`, `own picture` or `references cut`."""
    turn: int | None
    """From 1; None when it belongs to no turn."""
    text: str


def attempt_events(attempt: Attempt | None, *, lost_before: Sequence[Entry]) -> tuple[EventView, ...]:
    """Lost tries of the same member first, then the attempt's own events in order."""
    lost = [EventView(kind="lost try", turn=None, text=f"{one.stage}: {one.error}") for one in lost_before]
    return (*lost, *(_own(attempt) if attempt else ()))


def _own(attempt: Attempt) -> Iterator[EventView]:
    last: int | None = None
    for number, turn in enumerate(attempt.trajectory.turns, start=1):
        for before, after in pairwise((last, *turn.versions) if last is not None else turn.versions):
            if before != after:
                yield EventView(kind="new weights", turn=number, text=f"policy version {before} to {after}")
        last = turn.versions[-1] if turn.versions else last
        result = turn.result
        if result and result.kind is ToolKind.FAILED:
            yield EventView(kind="tool failed", turn=number, text=result.reason or "no reason given")
        if result and result.retries:
            requests = "1 request" if result.retries == 1 else f"{result.retries} requests"
            yield EventView(kind="tool retried", turn=number, text=f"{requests} made again after a failure")
        if result and turn.call is None:
            kept = any(one.image == attempt.image for one in result.images)
            judged = "it was judged" if kept else "another one was judged" if attempt.image else "none was judged"
            yield EventView(kind="own picture", turn=number, text=f"the policy saw what came of this answer; {judged}")
        if result and result.canaries:
            yield EventView(kind="injection", turn=number, text=f"signs in the result: {', '.join(result.canaries)}")
    if attempt.drawing and attempt.drawing.cut_references:
        count = attempt.drawing.cut_references
        yield EventView(kind="references cut", turn=None, text=f"{count} not shown: the image model takes no more")
