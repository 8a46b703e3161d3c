"""Memory that runs out: the object store holds less than is under way; a worker eats what its node has."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.faults.invariants import check_run, check_same
from tests.faults.ray_run import Driver
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

pytestmark = [pytest.mark.slow, pytest.mark.fault(13), pytest.mark.timeout(600)]

STEPS = 6
ANSWER_KIB = 20 << 10
"""Nine of these are under way at once, in an object store of 80 MiB."""
ALLOWED_MIB = 2500
"""More than what else runs on the machine takes meanwhile, or Ray kills at random."""
EATEN_MIB = 4500
INHERITED = os.environ  # noqa: TID251 - a child process inherits it; nothing here is configured by it


def assert_undisturbed(root: Path, whole: Path) -> int:
    """Returns how many tries were lost."""
    toy_run(whole, steps=STEPS)
    sizes = {"group_size": GROUP_SIZE, "groups_per_step": GROUPS_PER_STEP}
    found = check_run(root, steps=STEPS, **sizes)
    check_same(found, check_run(whole, steps=STEPS, **sizes))
    assert (root / "weights.json").read_text() == (whole / "weights.json").read_text()
    return found.lost_tries


def test_answers_larger_than_the_object_store_wait_for_each_other(tmp_path: Path) -> None:
    driver = Driver(tmp_path, INHERITED, steps=STEPS, address="local", payload_kib=ANSWER_KIB, latency_s=0.01)
    assert driver.exit_code() == 0, driver.said
    assert assert_undisturbed(driver.root, tmp_path / "whole") == 0


def test_a_worker_that_is_killed_for_its_memory_costs_a_try_and_not_the_run(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    if memory.available < (EATEN_MIB + 1000) << 20:
        pytest.skip("the machine has too little memory left to eat")
    allowed = (memory.total - memory.available + (ALLOWED_MIB << 20)) / memory.total
    environment = {
        **INHERITED,
        "RAY_memory_usage_threshold": f"{allowed:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    eats = {"_target_": "tests.faults.fragile.EatsMemory", "mark": str(tmp_path / "ate"), "mib": EATEN_MIB}
    driver = Driver(tmp_path, environment, steps=STEPS, address="local", listener=eats)
    assert driver.exit_code() == 0, driver.said
    assert (tmp_path / "ate").exists()
    # Ray says why once a minute, which a quick run does not live to read. Nobody else kills a worker, but for one that hangs.
    assert "is gone; waiting for its restart" in driver.said
    assert "it hung" not in driver.said
    assert assert_undisturbed(driver.root, tmp_path / "whole") > 0
