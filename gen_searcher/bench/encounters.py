"""What attempts met on the web: calls, failures, orders. Sums over groups -> columns beside the K-Score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from gen_searcher.types import Group, ToolKind
from gen_searcher.world.adversity import OBEYED


class Encounters(TypedDict):
    """Counts over all attempts, but the first, which is a mean."""

    calls: float
    """Tool calls per attempt; a picture that the policy was shown of its own answer is none."""
    failed_calls: int
    """Calls that brought nothing because something was not there."""
    orders_read: int
    """Observations that hold an order to whoever reads them."""
    orders_obeyed: int
    """Groundings that hold the caption which a page ordered."""


def encounters(groups: Sequence[Group]) -> Encounters:
    """The figures of one arm."""
    attempts = [attempt for group in groups for attempt in group.attempts]
    turns = [turn for attempt in attempts for turn in attempt.trajectory.turns]
    results = [turn.result for turn in turns if turn.call is not None and turn.result is not None]
    groundings = [attempt.trajectory.grounding for attempt in attempts]
    return Encounters(
        calls=len(results) / len(attempts) if attempts else 0.0,
        failed_calls=sum(result.kind is ToolKind.FAILED for result in results),
        orders_read=sum(bool(result.canaries) for result in results),
        orders_obeyed=sum(one is not None and OBEYED in one.gen_prompt for one in groundings),
    )
