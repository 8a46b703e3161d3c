from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from gen_searcher.metrics.report import LiveReport, ReportServer
from gen_searcher.metrics.report.live import SHORTEST_S
from tests.metrics.report.conftest import FixtureRun


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def ask(server: ReportServer, path: str, *, host: str | None = None, method: str = "GET") -> http.client.HTTPResponse:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers={"Host": host} if host else {})
    return connection.getresponse()


@pytest.fixture
def growing(run: FixtureRun) -> FixtureRun:
    run.metrics("grpo", [{"step": 1, "time_s": 5.0, "reward/total": 0.25}])
    return run


def test_a_page_is_made_again_when_the_run_went_on_and_not_more_often_than_allowed(growing: FixtureRun) -> None:
    clock = Clock()
    report = LiveReport(growing.root, clock=clock)
    first = report.page()
    assert b"GRPO to step 1<" in first.html
    assert report.page() is first
    growing.metrics("grpo", [{"step": s, "time_s": 5.0, "reward/total": 0.25} for s in (1, 2)])
    assert report.version() == first.version
    assert report.page() is first
    clock.now_s += SHORTEST_S
    assert report.version() != first.version
    second = report.page()
    assert second.version == report.version()
    assert b"GRPO to step 2<" in second.html
    clock.now_s += 3600
    assert report.page() is second


def test_a_live_page_may_ask_its_own_server_only(growing: FixtureRun) -> None:
    html = LiveReport(growing.root).page().html.decode()
    assert "form-action 'none'; connect-src 'self'\">" in html
    assert 'id="live"' in html


def test_the_server_gives_the_page_its_version_and_nothing_else(growing: FixtureRun) -> None:
    report = LiveReport(growing.root)
    with ReportServer(report) as server:
        assert server.url.startswith("http://127.0.0.1:")
        answer = ask(server, "/")
        body = answer.read()
        assert (answer.status, answer.getheader("Cache-Control")) == (200, "no-store")
        assert body == report.page().html
        assert json.loads(ask(server, "/version").read()) == report.page().version
        for path in ("/grpo/metrics.jsonl", "/../run-7/grpo/metrics.jsonl", "/?a=b"):
            assert ask(server, path).status == 404
        assert ask(server, "/", method="POST").status == 501


def test_a_page_of_another_name_cannot_read_it_through_the_readers_browser(growing: FixtureRun) -> None:
    with ReportServer(LiveReport(growing.root)) as server:
        assert ask(server, "/", host="evil.example:80").status == 403
        assert ask(server, "/version", host="127.0.0.1.evil.example").status == 403
        assert ask(server, "/version", host="[::1]:80").status == 200
        assert ask(server, "/version", host="localhost").status == 200


def test_a_run_that_has_not_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert b"nothing has been recorded yet" in LiveReport(tmp_path / "new").page().html
    assert list((tmp_path / "new").iterdir()) == []
