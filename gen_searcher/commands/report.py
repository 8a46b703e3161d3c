"""`gen-searcher report RUN_DIR`: write the run's report again, or show it live."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.report import LiveReport, ReportServer, write_report

log = logging.getLogger(__name__)


def run(cfg: RunConfig) -> int:
    """Write `report.html` from what the run directory holds, or serve the page until interrupted or terminated."""
    run_dir = _folder(cfg.run_dir, at="run_dir")
    other = _folder(cfg.report.compare, at="report.compare") if cfg.report.compare else None
    if cfg.report.serve:
        return _serve(cfg, LiveReport(run_dir, compare_with=other, limit=cfg.report.attempts))
    written = write_report(run_dir, compare_with=other, limit=cfg.report.attempts)
    sys.stdout.write(f"{written}\n")
    return 0


def _folder(path: Path, *, at: str) -> Path:
    if not path.is_dir():
        raise ConfigError(f"{at}: there is no run directory {path}")
    return path.resolve()


def _serve(cfg: RunConfig, report: LiveReport) -> int:
    try:
        server = ReportServer(report, host=cfg.serve.host, port=cfg.serve.port)
    except OSError as error:
        raise ConfigError(
            f"serve.host, serve.port: cannot listen on {cfg.serve.host}:{cfg.serve.port}: {error}"
        ) from error
    if not server.is_loopback:
        log.warning("everybody who reaches %s can read the run; the server asks for no password", cfg.serve.host)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        stopped.wait()
    return 0
