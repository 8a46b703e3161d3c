"""The laptop experiment as a job: submitted from outside, stopped with `ray job stop`, submitted again."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.jobs import last_object, submitted
from tests.e2e.ray_head import ray_head
from tests.faults.invariants import check_run

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STEPS = 24
SETTINGS = (
    *("experiment=laptop", f"grpo.steps={STEPS}", "grpo.checkpoint_every_steps=5", "sft.demonstration_count=48"),
    *("grpo.groups_per_step=2", "grpo.group_size=2", "grpo.drop_flat_groups=false", "agent.max_turns=2"),
)
"""The laptop's policy, world, generator and judges; few and short attempts of a policy that has hardly learned to speak."""


@pytest.mark.fault(6)
def test_a_stopped_job_of_the_laptop_experiment_goes_on_when_it_is_submitted_again(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    sft = [sys.executable, "-m", "gen_searcher", "sft", *SETTINGS, f"run_dir={run_dir}"]
    subprocess.run(sft, check=True, timeout=900)
    with (
        tempfile.TemporaryDirectory(prefix="gs-head-", ignore_cleanup_errors=True) as folder,
        ray_head(Path(folder)) as head,
    ):
        with submitted(head, run_dir, *SETTINGS) as job:
            job.until(lambda: len(job.rows()) >= 6, "its sixth step")
            (name,) = set(re.findall(r"raysubmit_\w+", head.ray("job", "list")))
            assert f"Job '{name}' was stopped" in head.ray("job", "stop", name)
            stopped = job.result.result()
        assert stopped.returncode == 0, "that is how ray job submit answers for a job that somebody stopped"
        said = [line for line in stopped.stdout.splitlines() if line.startswith('{"event"')]
        log.info("within Ray's three seconds the job said: %s", said)
        assert all(json.loads(line)["exit_code"] == 75 for line in said)
        done_before = len(job.rows())
        assert done_before < STEPS

        with submitted(head, run_dir, *SETTINGS) as job:
            done = job.result.result()
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
        (continued,) = re.findall(rf"grpo continues at step (\d+) of {STEPS}", done.stdout)
        assert 5 <= int(continued) - 1 <= done_before
        assert last_object(done)["exit_code"] == 0
        assert [int(row["step"]) for row in job.rows()][-1] == STEPS
        check_run(run_dir, group_size=2, steps=STEPS, groups_per_step=2)
