"""One line of `attempts.jsonl`: what happened to one member of a group, with the text it read and wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from gen_searcher.types import Attempt, Lost, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnText:
    """A turn, decoded."""

    prompt: str
    """Text of the turn's `prompt_ids`: what was added to the context."""
    completion: str
    """Text of the turn's `completion_ids`: what the policy sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLine:
    """One finished member of a group."""

    step: int
    """Step of the run; 0 in a benchmark."""
    group: str
    """Members of one group share it within a step."""
    kind: Literal["attempt", "lost"]
    task: Task
    advantage: float | None
    """None when the attempt did not train (a benchmark, a group without signal, a lost try)."""
    attempt: Attempt | None
    """Present exactly when `kind` is `attempt`."""
    lost: Lost | None
    """Present exactly when `kind` is `lost`."""
    texts: tuple[TurnText, ...] = ()
    """One per turn of the trajectory; empty when nobody decoded them."""

    def __post_init__(self) -> None:
        if (self.attempt is not None) != (self.kind == "attempt") or (self.lost is not None) != (self.kind == "lost"):
            raise ValueError(f"a line of kind {self.kind} must hold that and nothing else")


ATTEMPT_LINE = TypeAdapter(AttemptLine)
"""Reads and writes a line: `ATTEMPT_LINE.dump_json(line)` is the line without its newline."""
