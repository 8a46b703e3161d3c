"""One self-contained HTML file per run: arms, curves, and every chosen attempt turn by turn."""

from __future__ import annotations

from gen_searcher.metrics.report.page import write_report

__all__ = ["write_report"]
