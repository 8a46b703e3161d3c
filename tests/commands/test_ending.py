"""The last line of a command's process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gen_searcher import cli
from gen_searcher.commands.ending import Ending


def process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gen_searcher", *words], capture_output=True, text=True, timeout=110, check=False
    )


def test_the_last_line_of_a_command_that_cannot_start_is_an_object_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = process("grpo", f"run_dir={tmp_path}/file/run")
    assert done.returncode == 3
    assert done.stdout == ""
    assert json.loads(done.stderr.splitlines()[-1]) == {
        "event": "ended",
        "command": "grpo",
        "run_dir": f"{tmp_path}/file/run",
        "exit_code": 3,
        "meaning": "cannot start or go on",
    }


def test_a_crash_has_its_line_after_the_traceback() -> None:
    crash = (
        "import sys\nfrom gen_searcher import __main__\n"
        "def run(argv, *, ending):\n    ending.command = 'grpo'\n    raise LookupError('a bug')\n"
        "__main__.run = run\n__main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, timeout=110, check=False)
    *_, error, last = done.stderr.splitlines()
    assert (done.returncode, error) == (1, "LookupError: a bug")
    assert (json.loads(last)["exit_code"], json.loads(last)["meaning"]) == (1, "crash")


def test_a_command_that_does_no_work_says_no_more_than_it_was_asked(tmp_path: Path) -> None:
    for words in (["grpo", "--cfg"], ["scale", f"{tmp_path}/none", "cluster.rollout_workers=2"], ["fly"]):
        ending = Ending()
        cli.run(words, ending=ending)
        assert ending.command is None, words


def test_settings_that_cannot_be_read_leave_the_run_directory_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    ending = Ending()
    ending.exit_code = cli.run(["grpo", "grpo.stepz=9"], ending=ending)
    capsys.readouterr()
    ending.say()
    told = json.loads(capsys.readouterr().err)
    assert (told["command"], told["run_dir"], told["exit_code"]) == ("grpo", None, 2)


def test_a_forked_child_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Ending(command="grpo", exit_code=0, process=1).say()
    assert capsys.readouterr().err == ""


def test_the_line_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEBODYS_API_KEY", "canary-in-a-path-2201")
    assert "canary" not in Ending(command="grpo", run_dir=Path("/r/canary-in-a-path-2201"), exit_code=0).line()
