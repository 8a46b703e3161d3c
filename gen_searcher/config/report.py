"""Settings of `gen-searcher report`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from gen_searcher.config.base import Config


class ReportConfig(Config):
    """What the page of a run shows, and whether it is a file or follows the run."""

    compare: Path | None = None
    """A second run directory: its curves over this run's, its table and its samples beside. Also `--compare DIR`."""
    serve: bool = False
    """Show the page at `serve.host` and `serve.port` until interrupted, and renew it while the run goes on; no file is
    written. Also `--serve`."""
    attempts: int = Field(default=60, ge=1)
    """Most attempts on the page of one benchmark arm, and of the last training steps. Best, worst and most changed
    attempts of the whole run come on top. The file stays below 12 MB whatever is asked for."""
