"""What the agent is trained and tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from gen_searcher.config.base import Config


class TasksConfig(Config):
    """Task files, or how many tasks the embedded world makes."""

    train: Path | None = None
    """JSONL of training tasks; None = tasks of the embedded world, written to `run_dir/tasks/`."""
    heldout: Path | None = None
    """JSONL of held-out tasks, never trained on; None = the embedded world's."""
    train_count: int = Field(default=400, ge=1)
    """Training tasks that the embedded world makes; ignored when `train` is a file."""
    heldout_count: int = Field(default=100, ge=1)
    """Held-out tasks that the embedded world makes; ignored when `heldout` is a file."""
    families: Literal["basic", "all"] = "basic"
    """Questions that the embedded world's tasks ask: `basic` has at most two hops, `all` has up to four and some tasks
    that need no search; ignored for files."""
    seed: int = 0
    """Which tasks the embedded world makes. The two sets never share an answer."""
