"""The last line of a command's process: one JSON object for whatever started it.

`ray job submit` answers every failure with its own code 1, and a job's status knows only success and failure. The line says
which of the codes it was: `ray job logs ID | tail -1`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CRASHED = 1
MEANINGS: Mapping[int, str] = {
    0: "done",
    CRASHED: "crash",
    2: "wrong input or settings",
    3: "cannot start or go on",
    4: "budget spent",
    5: "a replay differs",
    75: "interrupted: run the same command again",
}
"""Of the exit codes."""


@dataclass(slots=True, kw_only=True)
class Ending:
    """What is known of the command so far. Until somebody says otherwise it has crashed."""

    command: str | None = None
    """None: it is not known yet, or it does no work that anybody waits for, and there is no line."""
    run_dir: Path | None = None
    """None: the settings could not be read."""
    exit_code: int = CRASHED
    process: int = field(default_factory=os.getpid)

    def say(self) -> None:
        """Write the line to standard error, after everything else; a forked child says nothing."""
        if self.command is None or self.process != os.getpid():
            return
        sys.stdout.flush()
        sys.stderr.write(self.line() + "\n")
        sys.stderr.flush()

    def line(self) -> str:
        """The object: event, command, run_dir, exit_code, meaning."""
        from gen_searcher.config.secrets import redact

        told = {
            "event": "ended",
            "command": self.command,
            "run_dir": None if self.run_dir is None else str(self.run_dir.absolute()),
            "exit_code": self.exit_code,
            "meaning": MEANINGS.get(self.exit_code, "unknown"),
        }
        return redact(json.dumps(told))
