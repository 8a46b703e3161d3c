"""The generator of the README, plugged in from outside the package by the commands that the README gives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
COMMAND = "gen-searcher bench experiment=laptop generator._target_=my_generators.Collage generator.height_px=96"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a folder that holds the module, which is on the Python path."""
    code = re.search(r"```python\n(# my_generators\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "my_generators.py").write_text(code[1])
    inherited = os.environ  # noqa: TID251 - a child process inherits it; nothing here is configured by it
    environment = {**inherited, "PYTHONPATH": f"{tmp_path}:{inherited.get('PYTHONPATH', ROOT)}"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gen_searcher", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800, check=False
        )

    return run


def test_the_readme_gives_this_command() -> None:
    assert COMMAND in " ".join((ROOT / "README.md").read_text().split())


def test_the_conformance_kit_accepts_it(run: Run) -> None:
    done = run("generator", "check", "my_generators:Collage")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_benchmark_draws_with_it(run: Run, tmp_path: Path) -> None:
    words = [word for word in COMMAND.split()[1:] if word != "experiment=laptop"]
    done = run(*words, "experiment=smoke", "bench.arms=[no-search]", f"run_dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / "run" / "bench" / "attempts-no-search.jsonl").read_text().splitlines()
    drawn = [json.loads(line)["attempt"]["image"] for line in lines]
    assert len(drawn) == 2
    for image in drawn:
        (path,) = [path for path in (tmp_path / "run" / "images").rglob(f"*{image['sha256']}*") if path.is_file()]
        with Image.open(path) as picture:
            assert picture.size == (96, 96), "no references: one white square"
            assert picture.convert("L").getextrema() == (255, 255)
