"""A submitted job on hosts that have networks of their own: nothing of a run may believe that it is alone on a machine."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.hosts import Host, NoHosts, hosts
from tests.e2e.jobs import last_object, submitted
from tests.faults.invariants import check_run
from tests.faults.nodes import Node, ray_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

log = logging.getLogger(__name__)

STEPS = 3
WORKS = {"pool": "works"}
SETTINGS = (
    *("experiment=smoke", "cluster=auto", f"grpo.steps={STEPS}"),
    *("cluster.rollout_workers=2", "cluster.learner_ranks=2"),
    # More than half of a host each: one engine and one learner rank on either of the two.
    "cluster.roles.rollout={cpus: 1.5, labels: {pool: works}}",
    "cluster.roles.learner={memory_gib: 2, labels: {pool: works}}",
    *(f"cluster.roles.{role}.labels={{pool: core}}" for role in ("generator", "reward", "tool")),
)


@pytest.fixture
def machines() -> Iterator[list[Host]]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(hosts(3))
        except NoHosts as why:
            pytest.skip(f"no network namespaces here: {why}")
        yield made


def addresses(host: Host) -> str:
    return subprocess.run(
        [*host.enter, "ip", "-brief", "-4", "address"], capture_output=True, text=True, check=True
    ).stdout


def of_each_role(node: Node) -> tuple[int, int]:
    """Engines, learner ranks."""
    commands = node.commands()
    return tuple(sum(f"ray::{name}" in command for command in commands) for name in ("RolloutActor", "LearnerActor"))  # type: ignore[return-value]


def test_a_job_from_outside_learns_and_searches_on_two_hosts(machines: list[Host], tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    sft = [sys.executable, "-m", "gen_searcher", "sft", "experiment=smoke", f"run_dir={run_dir}"]
    subprocess.run(sft, check=True, timeout=900)
    first, *others = machines
    assert all(other.address not in addresses(first) for other in others), "networks of their own"
    with ray_nodes() as nodes:
        head = nodes.head_for_jobs(cpus=2, labels={"pool": "core"}, host=first)
        workers = [nodes.worker(cpus=2, labels=WORKS, host=host, memory_gib=3) for host in others]
        with submitted(head, run_dir, *SETTINGS) as job:
            job.until(lambda: [of_each_role(node) for node in workers] == [(1, 1), (1, 1)], "one of each on each host")
            done = job.result.result()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert last_object(done)["exit_code"] == 0
    found = check_run(run_dir, steps=STEPS, group_size=2, groups_per_step=2)
    assert found.given_up == frozenset()
    log.info(
        "%d instances, %d lost tries, hosts %s", found.begun, found.lost_tries, [host.address for host in machines]
    )
