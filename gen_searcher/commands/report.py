"""`gen-searcher report RUN_DIR`: write the run's report again."""

from __future__ import annotations

import sys

from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.report import write_report


def run(cfg: RunConfig) -> int:
    """Write `report.html` from what the run directory holds."""
    if not cfg.run_dir.is_dir():
        raise ConfigError(f"run_dir: there is no run directory {cfg.run_dir}")
    sys.stdout.write(f"{write_report(cfg.run_dir.resolve())}\n")
    return 0
