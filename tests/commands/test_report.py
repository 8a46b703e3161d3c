from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from gen_searcher import cli


def test_a_run_that_is_not_there_is_said_by_the_setting_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["report", str(tmp_path), "--compare", str(tmp_path / "none")]) == 2
    assert "report.compare: there is no run directory" in capsys.readouterr().err
    assert cli.run(["report", str(tmp_path / "none")]) == 2
    assert "run_dir: there is no run directory" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.run(["report", str(tmp_path), "--serve", f"serve.port={port}"]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.slow
def test_serve_says_where_answers_and_ends_well_when_asked_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gen_searcher", "report", str(tmp_path), "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert b"nothing has been recorded yet" in answer.read()
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    assert list(tmp_path.iterdir()) == []
