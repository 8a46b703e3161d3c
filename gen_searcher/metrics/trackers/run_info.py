"""What a tracker is told of a run before its first number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """One stage of one run directory. The same `id` again means: go on, do not begin anew."""

    id: str
    """Stable over resumptions, letters, digits, `-` and `_` only."""
    name: str
    """For people, e.g. `laptop grpo`."""
    folder: Path
    """Where a tracker may write."""
    config: Mapping[str, object]
    """The run's settings as plain values; secrets are references in there, never keys."""
