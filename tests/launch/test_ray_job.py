from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "ray_job.sh"


def refused(*words: str, **environment: str) -> str:
    done = subprocess.run(
        ["bash", str(SCRIPT), *words],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize(
    ("words", "environment", "complaint"),
    [
        (("grpo", "run_dir=/r"), {}, "RAY_ADDRESS is not set"),
        ((), {"RAY_ADDRESS": "http://127.0.0.1:1"}, "no command"),
        (("grpo",), {"RAY_ADDRESS": "http://127.0.0.1:1"}, "run_dir=(not set) must be absolute"),
        (("grpo", "run_dir=runs/x"), {"RAY_ADDRESS": "http://127.0.0.1:1"}, "run_dir=runs/x must be absolute"),
    ],
    ids=["no cluster", "no command", "no run_dir", "relative run_dir"],
)
def test_a_job_that_cannot_work_is_not_submitted(
    words: tuple[str, ...], environment: dict[str, str], complaint: str
) -> None:
    assert complaint in refused(*words, **environment)


def submitted(folder: Path, *words: str) -> list[str]:
    """The words that `ray` is started with: it stands in for the client, which would ask a cluster."""
    (folder / "bin").mkdir()
    ray = folder / "bin" / "ray"
    ray.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {folder}/told\n')
    searcher = folder / "bin" / "gen-searcher"
    searcher.write_text(f'#!/bin/bash\nexec {sys.executable} -m gen_searcher "$@"\n')
    for program in (ray, searcher):
        program.chmod(0o755)
    environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "RAY_ADDRESS": "http://127.0.0.1:1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return (folder / "told").read_text().splitlines()


def test_what_the_driver_asks_for_is_kept_for_it_by_the_submission(tmp_path: Path) -> None:
    asked = "cluster.roles.driver={cpus: 2, memory_gib: 8, labels: {pool: core}}"
    told = submitted(tmp_path, "grpo", "experiment=laptop", f"run_dir={tmp_path}/run", asked)
    at = told.index("--entrypoint-num-cpus")
    assert told[at : at + 6] == [
        "--entrypoint-num-cpus",
        "2",
        "--entrypoint-memory",
        "8589934592",
        "--entrypoint-label-selector",
        '{"pool": "core"}',
    ]
    assert told[told.index("--") :] == [
        "--",
        "gen-searcher",
        "grpo",
        "experiment=laptop",
        f"run_dir={tmp_path}/run",
        asked,
        "cluster=auto",
    ]


def test_a_submission_that_sets_nothing_for_the_driver_is_told_nothing_of_it(tmp_path: Path) -> None:
    told = submitted(tmp_path, "grpo", "experiment=laptop", f"run_dir={tmp_path}/run")
    assert not [word for word in told if word.startswith("--entrypoint")]
    assert told[:4] == ["job", "submit", "--address", "http://127.0.0.1:1"]


def test_a_driver_that_nobody_here_can_read_is_refused_and_not_forgotten() -> None:
    said = refused("grpo", "run_dir=/r", "cluster.roles.driver.cpus=2", RAY_ADDRESS="http://127.0.0.1:1")
    assert "cluster.roles.driver is set, and gen-searcher on this machine cannot read the settings" in said


def test_the_shell_scripts_of_the_launch_folder_parse() -> None:
    scripts = sorted(path for path in SCRIPT.parent.iterdir() if path.suffix in {".sh", ".sbatch"})
    assert {path.name for path in scripts} >= {"ray_job.sh", "slurm.sbatch", "setup.sh"}
    for path in scripts:
        assert subprocess.run(["bash", "-n", str(path)], check=False, timeout=30).returncode == 0
