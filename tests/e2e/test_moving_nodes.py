"""A submitted job while nodes of its cluster are added, drained and killed; then the same submission again."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gen_searcher import cli
from tests.e2e.jobs import Done, last_object, submitted
from tests.e2e.ray_head import Head
from tests.faults.invariants import check_run
from tests.faults.nodes import Node, ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

log = logging.getLogger(__name__)

STEPS = 36
"""Enough for three nodes to start and for five engines to load their model meanwhile."""
GROUPS_PER_STEP = 2
GROUP_SIZE = 2
ROLLOUTS = {"pool": "rollouts"}
SETTINGS = (
    *("experiment=smoke", "cluster=auto", "grpo.checkpoint_every_steps=10"),
    *(f"grpo.groups_per_step={GROUPS_PER_STEP}", f"grpo.group_size={GROUP_SIZE}"),
    "cluster.roles.rollout={cpus: 1, labels: {pool: rollouts}}",
    *(f"cluster.roles.{role}.labels={{pool: core}}" for role in ("learner", "generator", "reward", "tool")),
)


def engines(node: Node) -> int:
    return sum("ray::RolloutActor" in command for command in node.commands())


def again(head: Head, run_dir: Path, *settings: str) -> Done:
    with submitted(head, run_dir, *SETTINGS, *settings) as job:
        return job.result.result()


@pytest.mark.fault(8, 9)
def test_a_submitted_job_outlives_nodes_that_come_leave_and_die_and_its_resubmission_goes_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    sft = [sys.executable, "-m", "gen_searcher", "sft", "experiment=smoke", f"run_dir={run_dir}"]
    subprocess.run(sft, check=True, timeout=900)
    with ray_nodes() as nodes:
        head = nodes.head_for_jobs(cpus=2, labels={"pool": "core"})
        first = nodes.worker(cpus=1, labels=ROLLOUTS)
        with submitted(head, run_dir, *SETTINGS, f"grpo.steps={STEPS}") as job:
            job.until(lambda: len(job.rows()) >= 1, "its first step")

            second = nodes.worker(cpus=2, labels=ROLLOUTS)
            assert cli.run(["scale", str(run_dir), "cluster.rollout_workers=2"]) == 0
            job.until(lambda: engines(second) == 1, "an engine on the added node")
            job.until_a_step_with(2, "the added node")

            nodes.drain(first, within_s=600)
            job.until(lambda: engines(first) == 0 and engines(second) == 2, "the engine left the draining node")
            first.end(signal.SIGTERM)
            job.until_a_step_with(2, "without the drained node")

            third = nodes.worker(cpus=2, labels=ROLLOUTS)
            second.end()
            job.until(lambda: engines(third) == 2, "both engines on the third node")
            job.until_a_step_with(2, "without the killed node")
            done = job.result.result()
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
        assert last_object(done) == {
            "event": "ended",
            "command": "grpo",
            "run_dir": str(run_dir),
            "exit_code": 0,
            "meaning": "done",
        }
        assert "leaves a draining node" in done.stdout
        assert "is gone; waiting for its restart" in done.stdout
        found = check_run(run_dir, steps=STEPS, group_size=GROUP_SIZE, groups_per_step=GROUPS_PER_STEP)
        assert found.given_up == frozenset()
        log.info("%d instances, %d lost tries, states %s", found.begun, found.lost_tries, found.states)

        done = again(head, run_dir, f"grpo.steps={STEPS}")
        assert done.returncode == 0
        assert f"grpo is done: {STEPS} of {STEPS} steps" in done.stdout
        assert last_object(done)["exit_code"] == 0

        done = again(head, run_dir, f"grpo.steps={STEPS + 2}")
        assert done.returncode == 0, done.stdout[-4000:]
        assert f"grpo continues at step {STEPS + 1} of {STEPS + 2}" in done.stdout
        check_run(run_dir, steps=STEPS + 2, group_size=GROUP_SIZE, groups_per_step=GROUPS_PER_STEP)

        (run_dir / "scale.json").write_text('{"cluster.rollout_workers": "many"}')
        refused = again(head, run_dir, f"grpo.steps={STEPS + 3}")
        assert refused.returncode == 1, "ray job submit has one code for all failures"
        assert last_object(refused)["exit_code"] == 2
