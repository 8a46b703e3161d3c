"""The driver, killed at random instants and started again each time, trains the same task instances, each once.

The loop, the stream, the ledger, the lease and the files are the real ones; policy and learner are small and deterministic.
`tests/e2e/test_killed_driver.py` does the same to the real ones.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.train.toy_run import GROUP_SIZE, GROUPS_PER_STEP, toy_run

STEPS = 40
KILLS = 20
LATENCY_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What a run directory says of itself."""

    trained: dict[int, tuple[str, int]]
    """Visit -> task and step."""
    rejected: dict[int, tuple[str, int]]
    states: Counter[str]
    begun: int
    issues: Counter[int]
    """Times issued -> instances."""


def books(root: Path) -> Books:
    with closing(sqlite3.connect(f"file:{root / 'grpo' / 'ledger.sqlite'}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT visit, task_id, state, step, issues FROM instances ORDER BY visit").fetchall()
        (begun,) = db.execute("SELECT begun FROM run").fetchone()
    used = {state: {v: (task, step) for v, task, s, step, _ in rows if s == state} for state in ("trained", "rejected")}
    return Books(
        trained=used["trained"],
        rejected=used["rejected"],
        states=Counter(row[2] for row in rows),
        begun=begun,
        issues=Counter(row[4] for row in rows),
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


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


def assert_nothing_lost(root: Path, *, rolled_back: bool) -> Books:
    """The invariants I1 and I3, from the ledger; and the files that people read agree with it."""
    found = books(root)
    assert found.begun == found.states.total()
    assert found.states["running"] == 0
    steps = Counter(step for _, step in found.trained.values())
    assert steps == dict.fromkeys(range(1, STEPS + 1), GROUPS_PER_STEP)
    assert [row["step"] for row in lines(root / "grpo" / "metrics.jsonl")] == list(range(1, STEPS + 1))
    attempts = Counter(str(row["group"]) for row in lines(root / "grpo" / "attempts.jsonl") if row["kind"] == "attempt")
    used = {**found.trained, **found.rejected}
    assert dict.fromkeys((f"{task}-{visit}" for visit, (task, _) in used.items()), GROUP_SIZE).items() <= (
        attempts.items()
    )
    assert set(attempts.values()) == {GROUP_SIZE}
    assert rolled_back == (max(found.issues) > 1)
    return found


@pytest.mark.fault(5)
@pytest.mark.timeout(120)
def test_twenty_kills_change_neither_the_trained_instances_nor_a_bit_of_the_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    started = time.monotonic()
    toy_run(whole, steps=STEPS, latency_s=LATENCY_S)
    undisturbed_s = time.monotonic() - started
    killed = run_and_kill(broken, kills=KILLS, longest_s=undisturbed_s / 20, seed=1, max_staleness=0)
    assert killed == KILLS
    expected = assert_nothing_lost(whole, rolled_back=False)
    found = assert_nothing_lost(broken, rolled_back=True)
    assert found.trained == expected.trained
    assert found.rejected == expected.rejected
    assert (broken / "weights.json").read_text() == (whole / "weights.json").read_text()


@pytest.mark.slow
@pytest.mark.fault(5)
@pytest.mark.timeout(120)
def test_twenty_kills_of_an_asynchronous_run_lose_no_instance_and_train_none_twice(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    started = time.monotonic()
    toy_run(whole, steps=STEPS, latency_s=LATENCY_S, max_staleness=1)
    undisturbed_s = time.monotonic() - started
    killed = run_and_kill(broken, kills=KILLS, longest_s=undisturbed_s / 20, seed=2, max_staleness=1)
    assert killed == KILLS
    found = assert_nothing_lost(broken, rolled_back=True)
    assert len(found.trained) == STEPS * GROUPS_PER_STEP
