"""The driver, killed at random instants and started again each time, trains the same task instances, each once.

The loop, the stream, the ledger, the lease and the files are the real ones; policy and learner are small and deterministic.
`tests/e2e/test_killed_driver.py` does the same to the real ones.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.invariants import TRIES, Accounts, check_run, check_same
from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

STEPS = 40
KILLS = 20
LATENCY_S = 0.002


def run_and_kill(root: Path, *, kills: int, longest_s: float, seed: int, max_staleness: int) -> int:
    """Start the run again and again, kill it at random instants, then let it end. Returns how often it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.toy_run"])
    instants = random.Random(seed)
    killed = 0
    for number in range(kills + 1):
        began = context.Event()
        keywords = {"steps": STEPS, "max_staleness": max_staleness, "latency_s": LATENCY_S, "began": began}
        process = context.Process(target=toy_run, args=(root,), kwargs=keywords)
        process.start()
        if number % 4:  # the others are killed while they start
            assert began.wait(60)
        process.join(timeout=instants.uniform(0.0, longest_s) if number < kills else 100.0)
        if process.exitcode is None and number < kills:
            process.kill()
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0
            break
    return killed


def assert_nothing_lost(root: Path, *, rolled_back: bool) -> Accounts:
    found = check_run(root, steps=STEPS, group_size=GROUP_SIZE, groups_per_step=GROUPS_PER_STEP)
    assert found.given_up == frozenset()
    assert rolled_back == (max(found.issues) > 1)
    return found


@pytest.mark.fault(5)
@pytest.mark.timeout(120)
def test_twenty_kills_change_neither_the_trained_instances_nor_a_bit_of_the_weights(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    started = time.monotonic()
    toy_run(whole, steps=STEPS, latency_s=LATENCY_S)
    undisturbed_s = time.monotonic() - started
    killed = run_and_kill(broken, kills=KILLS, longest_s=undisturbed_s / 40, seed=1, max_staleness=0)
    record_property(TRIES, killed)
    assert killed == KILLS
    expected = assert_nothing_lost(whole, rolled_back=False)
    found = assert_nothing_lost(broken, rolled_back=True)
    check_same(found, expected)
    assert (broken / "weights.json").read_text() == (whole / "weights.json").read_text()


@pytest.mark.slow
@pytest.mark.fault(5)
@pytest.mark.timeout(120)
def test_twenty_kills_of_an_asynchronous_run_lose_no_instance_and_train_none_twice(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    started = time.monotonic()
    toy_run(whole, steps=STEPS, latency_s=LATENCY_S, max_staleness=1)
    undisturbed_s = time.monotonic() - started
    killed = run_and_kill(broken, kills=KILLS, longest_s=undisturbed_s / 40, seed=2, max_staleness=1)
    record_property(TRIES, killed)
    assert killed == KILLS
    found = assert_nothing_lost(broken, rolled_back=True)
    assert found.states["trained"] == STEPS * GROUPS_PER_STEP
