"""The whole program on a cluster of three nodes, one of which dies with half of the policy engines."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gen_searcher.errors import EXIT_INTERRUPTED
from tests.faults.invariants import check_run
from tests.faults.nodes import ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

STEPS = 4
GROUP_SIZE = 2
CORE = "{pool: core}"
SETTINGS = ("experiment=smoke", f"grpo.steps={STEPS}", "cluster.rollout_workers=2")
ON_NODES = (
    "cluster=auto",
    "cluster.roles.rollout={cpus: 1, labels: {pool: rollouts}}",
    *(f"cluster.roles.{role}.labels={CORE}" for role in ("learner", "generator", "reward", "tool")),
)


def wait_for_step(run_dir: Path, step: int, process: subprocess.Popen[bytes], log: Path) -> None:
    metrics = run_dir / "grpo" / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < step:
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.2)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory after SFT."""
    run_dir = tmp_path_factory.mktemp("begun") / "run"
    sft = [sys.executable, "-m", "gen_searcher", "sft", "experiment=smoke", f"run_dir={run_dir}"]
    subprocess.run(sft, check=True, timeout=900)
    return run_dir


@pytest.mark.fault(10)
def test_a_run_leaves_in_order_when_only_the_head_of_its_private_cluster_dies(begun: Path, tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    shutil.copytree(begun, run_dir)
    here = [sys.executable, "-m", "gen_searcher", "grpo", "experiment=smoke", "grpo.steps=50", f"run_dir={run_dir}"]
    with log.open("ab") as out:
        process = subprocess.Popen(here, stdout=out, stderr=out)
        wait_for_step(run_dir, 1, process, log)
        (head,) = [one for one in psutil.Process(process.pid).children() if one.name().startswith("gcs_server")]
        head.kill()
        assert process.wait(timeout=120) == EXIT_INTERRUPTED, log.read_text()[-3000:]
    assert "run the same command again" in log.read_text().strip().splitlines()[-1]


@pytest.mark.fault(8, 10)
def test_a_run_outlives_a_rollout_node_and_leaves_in_order_without_its_head(begun: Path, tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    shutil.copytree(begun, run_dir)
    here = [sys.executable, "-m", "gen_searcher", "grpo", *SETTINGS, f"run_dir={run_dir}"]
    with ray_nodes() as nodes, log.open("ab") as out:
        head = nodes.head(cpus=2, labels={"pool": "core"})
        dies, lives = (nodes.worker(cpus=1, labels={"pool": "rollouts"}) for _ in range(2))
        process = subprocess.Popen([*here, *ON_NODES], env=nodes.environment, stdout=out, stderr=out)
        wait_for_step(run_dir, 1, process, log)
        dies.end()
        wait_for_step(run_dir, 3, process, log)
        assert lives.process.poll() is None
        head.end()
        assert process.wait(timeout=120) == EXIT_INTERRUPTED, log.read_text()[-3000:]
    said = log.read_text()
    assert "rollout actor" in said
    assert "is gone; waiting for its restart" in said
    last = said.strip().splitlines()[-1]
    assert "run the same command again" in last
    done = subprocess.run(here, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = check_run(run_dir, steps=STEPS, group_size=GROUP_SIZE)
    assert found.given_up == frozenset()
