"""Whole machines that die, come and go: a real Ray cluster of several raylets, real pool, stream and ledger, small actors.

The run's weights say what it has trained on; the same run without any disturbance, in one process, is what they are held to.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gen_searcher.errors import EXIT_INTERRUPTED
from tests.faults.invariants import Accounts, check_run, check_same
from tests.faults.nodes import Node, Nodes, ray_nodes
from tests.faults.ray_run import Driver
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 30
POOL = {"pool": "rollouts"}
ROLE = {"cpus": 1, "labels": POOL}
AT_WORK = "ray::ToyRollout.attempt"
LEAVES_S = 60.0
"""After this Ray ends a process whose head is gone, with code 1."""


def check(root: Path) -> Accounts:
    return check_run(root, steps=STEPS, group_size=GROUP_SIZE, groups_per_step=GROUPS_PER_STEP)


def assert_undisturbed(root: Path, whole: Path) -> Accounts:
    found = check(root)
    check_same(found, check(whole))
    assert (root / "weights.json").read_text() == (whole / "weights.json").read_text()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    toy_run(root, steps=STEPS)
    return root


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with ray_nodes() as nodes:
        nodes.head()
        yield nodes


@pytest.fixture(scope="module")
def first(nodes: Nodes) -> Node:
    return nodes.worker(cpus=2, labels=POOL)


@pytest.mark.fault(8)
def test_the_other_nodes_finish_when_one_dies_with_half_of_the_rollout_workers(
    tmp_path: Path, nodes: Nodes, first: Node, whole: Path
) -> None:
    second = nodes.worker(cpus=2, labels=POOL)
    driver = Driver(tmp_path, nodes.environment, steps=STEPS, payload_kib=300, role=ROLE)
    driver.wait_for_step(3)
    second.end()
    assert driver.exit_code() == 0, driver.said
    assert first.process.poll() is None
    assert driver.said.count("is gone; waiting for its restart") >= 2, driver.said
    found = assert_undisturbed(driver.root, whole)
    assert found.lost_tries > 0
    assert found.given_up == frozenset()


@pytest.mark.fault(9)
def test_a_node_that_is_drained_and_one_that_joins_change_no_result(
    tmp_path: Path, nodes: Nodes, first: Node, whole: Path
) -> None:
    leaving = nodes.worker(cpus=2, labels=POOL)
    go = tmp_path / "go"
    holds = {"_target_": "tests.faults.fragile.HoldsUntil", "go": str(go), "steps": 5}
    driver = Driver(tmp_path, nodes.environment, steps=STEPS, latency_s=2.0, role=ROLE, listener=holds)
    driver.wait_for_step(5)
    joined = nodes.worker(cpus=2, labels=POOL)
    go.touch()
    driver.wait_for_step(6)
    nodes.drain(leaving, within_s=5)
    leaving.end(signal.SIGTERM)
    driver.wait_until(lambda: any(AT_WORK in command for command in joined.commands()))
    assert driver.exit_code() == 0, driver.said
    assert first.process.poll() is None
    assert_undisturbed(driver.root, whole)


@pytest.mark.fault(16)
@pytest.mark.parametrize("way", ["no address", "nobody there", "another token"])
def test_a_cluster_that_is_not_ours_is_not_joined_and_the_error_says_what_to_do(
    tmp_path: Path, nodes: Nodes, way: str
) -> None:
    environment = dict(nodes.environment)
    if way == "no address":
        del environment["RAY_ADDRESS"]
    elif way == "nobody there":
        environment["RAY_ADDRESS"] = environment["RAY_ADDRESS"].rpartition(":")[0] + ":9"
    else:
        environment["RAY_AUTH_TOKEN"] = "0123456789abcdef0123456789abcdef"
    driver = Driver(tmp_path, environment, steps=STEPS)
    assert driver.exit_code() == 3, driver.said
    last = driver.said.strip().splitlines()[-1]
    assert "cluster.address=auto" in last
    assert "cluster.address=local" in last
    assert not (driver.root / "grpo").exists()


@pytest.mark.fault(16)
def test_a_private_cluster_is_raised_beside_a_strangers_and_does_not_touch_it(
    tmp_path: Path, nodes: Nodes, first: Node, whole: Path
) -> None:
    driver = Driver(tmp_path, nodes.environment, steps=STEPS, address="local", workers=2, role={})
    driver.wait_for_step(1)
    assert not [command for command in first.commands() if "ToyRollout" in command]
    assert driver.exit_code() == 0, driver.said
    assert_undisturbed(driver.root, whole)


@pytest.mark.fault(10)
def test_without_its_head_a_run_leaves_with_75_and_goes_on_on_the_next_cluster(tmp_path: Path, whole: Path) -> None:
    with ray_nodes() as nodes:
        head = nodes.head(cpus=4)
        driver = Driver(tmp_path, nodes.environment, steps=STEPS, role={"cpus": 1})
        driver.wait_for_step(3)
        head.end()
        assert driver.exit_code(within_s=LEAVES_S) == EXIT_INTERRUPTED, driver.said
        assert "run the same command again" in driver.said.strip().splitlines()[-1]
        nodes.head(cpus=4)
        assert Driver(tmp_path, nodes.environment, steps=STEPS, role={"cpus": 1}).exit_code() == 0, driver.said
    found = assert_undisturbed(driver.root, whole)
    assert max(found.issues) > 1
