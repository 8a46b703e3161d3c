from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "ray_job.sh"


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


def test_the_shell_scripts_of_the_launch_folder_parse() -> None:
    scripts = sorted(path for path in SCRIPT.parent.iterdir() if path.suffix in {".sh", ".sbatch"})
    assert {path.name for path in scripts} >= {"ray_job.sh", "slurm.sbatch", "setup.sh"}
    for path in scripts:
        assert subprocess.run(["bash", "-n", str(path)], check=False, timeout=30).returncode == 0
