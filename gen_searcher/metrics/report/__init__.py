"""One self-contained HTML file per run: arms, curves, and every chosen attempt turn by turn; or the same page, live."""

from __future__ import annotations

from gen_searcher.metrics.report.live import LiveReport, ReportServer
from gen_searcher.metrics.report.page import write_report

__all__ = ["LiveReport", "ReportServer", "write_report"]
