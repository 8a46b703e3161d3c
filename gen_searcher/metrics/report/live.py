"""The report of a run that goes on: files -> version -> page, served on loopback to whoever has it open."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from gen_searcher.metrics.report.choose import LIMIT
from gen_searcher.metrics.report.page import render

log = logging.getLogger(__name__)

WATCHED = ("config/*.yaml", "sft/metrics.jsonl", "grpo/metrics.jsonl", "grpo/attempts.jsonl", "bench/**/*.json*")
"""What a page is made from, below a run directory."""
SHARE = 0.1
"""Most of one core that making pages may take from the training beside it."""
SHORTEST_S = 2.0
"""Between two pages; training steps take longer."""
MOST_PICTURES = 5000
"""Encoded pictures that are kept between pages, about 10 kB each."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One state of the run."""

    version: str
    html: bytes
    ready_s: float
    """On the clock of `time.monotonic`."""
    cost_s: float
    """Seconds that it took to make."""


class LiveReport:
    """Makes the page again when the run has written something, not more often than `SHARE` allows."""

    def __init__(
        self,
        run_dir: Path,
        *,
        compare_with: Path | None = None,
        limit: int = LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The arguments are those of `render`; `clock` is for tests."""
        self._run_dir = run_dir
        self._compare_with = compare_with
        self._limit = limit
        self._clock = clock
        self._encoded: dict[str, str] = {}
        self._lock = threading.Lock()
        self._page: Page | None = None

    def version(self) -> str:
        """That of the page which `page` would return now."""
        page = self._page
        return page.version if page and not self._is_due(page) else self._on_disk()

    def page(self) -> Page:
        """The newest page; made now when the run has gone on. Several readers share one."""
        with self._lock:
            if self._page and (not self._is_due(self._page) or self._page.version == self._on_disk()):
                return self._page
            version, start_s = self._on_disk(), self._clock()
            if len(self._encoded) > MOST_PICTURES:
                self._encoded.clear()
            html = render(
                self._run_dir,
                compare_with=self._compare_with,
                limit=self._limit,
                live=version,
                encoded=self._encoded,
            )
            end_s = self._clock()
            self._page = Page(
                version=version, html=html.encode("utf-8", "replace"), ready_s=end_s, cost_s=end_s - start_s
            )
            return self._page

    def _is_due(self, page: Page) -> bool:
        return self._clock() - page.ready_s >= max(SHORTEST_S, page.cost_s * (1 / SHARE - 1))

    def _on_disk(self) -> str:
        """Digest of the names, sizes and times of everything that a page is made from."""
        digest = hashlib.sha256()
        for root in (one for one in (self._run_dir, self._compare_with) if one):
            for file in sorted(file for pattern in WATCHED for file in root.glob(pattern)):
                try:
                    state = file.stat()
                except FileNotFoundError:
                    continue
                digest.update(f"{file}\n{state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]


class ReportServer:
    """`/` is the page, `/version` says whether there is a newer one. Nothing of the run directory can be asked for by name."""

    def __init__(self, report: LiveReport, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind, which raises OSError when it cannot be done; nothing is answered before `__enter__`."""
        self._host = host
        local = self.is_loopback

        class Handler(_Handler):
            is_loopback = local
            pages = report

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="report", daemon=True)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return self._host == "localhost"

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self._host}:{self._server.server_port}/"

    def __enter__(self) -> Self:
        """Answer from now on."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    pages: LiveReport
    is_loopback: bool

    def do_GET(self) -> None:
        """Answer the page or its version; any other path is 404."""
        if self.is_loopback and not _names_this_machine(self.headers.get("Host", "")):
            # A page elsewhere whose name was pointed at 127.0.0.1 sends its own name here.
            self._answer(HTTPStatus.FORBIDDEN, b"this server answers to localhost only", kind="text/plain")
        elif self.path == "/version":
            self._answer(HTTPStatus.OK, json.dumps(self.pages.version()).encode(), kind="application/json")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, self.pages.page().html, kind="text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"nothing here", kind="text/plain")

    def _answer(self, status: HTTPStatus, body: bytes, *, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        with contextlib.suppress(ConnectionError):  # The reader has closed the page.
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """To the log, at debug level: a page asks every few seconds."""
        log.debug(format, *args)


def _names_this_machine(host: str) -> bool:
    """Whether a `Host` header is loopback's, with a port or without."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower() in LOCAL_NAMES
