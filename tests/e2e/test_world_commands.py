"""The embedded world's commands, and doctor, as their user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from importlib import resources
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")

pytestmark = pytest.mark.timeout(400)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=380, check=False)


@pytest.mark.slow
def test_world_build_makes_the_shipped_data_again_byte_for_byte(tmp_path: Path) -> None:
    done = run("world", "build", f"run_dir={tmp_path / 'world'}", "experiment=smoke")
    assert done.returncode == 0, done.stderr[-3000:]
    shipped = Path(str(resources.files("gen_searcher.world").joinpath("data")))
    names = sorted(
        path.name for path in shipped.iterdir() if path.suffix in {".gz", ".zip"} and "knowgen" not in path.name
    )
    assert names == ["entities.jsonl.gz", "ledger.jsonl.gz", "pages.jsonl.gz", "pictures.zip"]
    for name in names:
        assert (tmp_path / "world" / name).read_bytes() == (shipped / name).read_bytes(), name


def test_world_tasks_writes_both_splits_with_their_pictures(tmp_path: Path) -> None:
    done = run("world", "tasks", f"run_dir={tmp_path / 'run'}", "experiment=smoke")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "16 train tasks" in done.stdout
    assert "8 heldout tasks" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "run" / "tasks" / "heldout.jsonl").read_text().splitlines()]
    assert all((tmp_path / "run" / "tasks" / row["gt_image"]).is_file() for row in rows)


def test_world_serve_answers_on_loopback_by_host_header(tmp_path: Path) -> None:
    with subprocess.Popen(
        [PROGRAM, "world", "serve", f"run_dir={tmp_path / 'run'}", "experiment=smoke"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        try:
            request = urllib.request.Request(f"{address}/poland", headers={"Host": "geography.mini.web"})
            with urllib.request.urlopen(request, timeout=10) as response:
                page = response.read().decode()
        finally:
            server.terminate()
    assert address.startswith("http://127.0.0.1:")
    assert "Capital of Poland: Warsaw." in page


@pytest.mark.slow
def test_world_train_painter_goes_on_from_the_shipped_one(tmp_path: Path) -> None:
    shipped = resources.files("gen_searcher.world").joinpath("painter")
    done = run(
        "world",
        "train-painter",
        f"run_dir={tmp_path / 'painter'}",
        "experiment=smoke",
        f"painter.start_from='{shipped}'",
        "painter.vae_minutes=0",
        "painter.dit_minutes=0",
        "painter.table_pictures=2",
        "painter.polish_minutes=0.02",
        "painter.threads=1",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((tmp_path / "painter" / "heldout.json").read_text())
    assert figures["mean"]["right_db"] > figures["mean"]["wrong_db"] + 8
    weights = sum(path.stat().st_size for path in (tmp_path / "painter").rglob("*.safetensors"))
    assert weights < 12_000_000


@pytest.mark.slow
def test_doctor_says_that_the_laptop_experiment_can_start(tmp_path: Path) -> None:
    done = run("doctor", "experiment=laptop", f"run_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ready" in done.stdout + done.stderr
