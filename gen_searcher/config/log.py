"""Settings of the log."""

from __future__ import annotations

from typing import Literal

from gen_searcher.config.base import Config


class LogConfig(Config):
    """What the driver and its workers write to standard error."""

    format: Literal["text", "json"] = "text"
    """`json`: one object a line, from the workers too, with `run`, `command`, `step`, `task` and `attempt` where they are
    known. The progress display stays text."""
    level: Literal["debug", "info", "warning"] = "info"
    """What is written at least; `debug` has a line for every lost try."""
