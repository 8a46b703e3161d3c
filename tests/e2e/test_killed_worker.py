"""A rollout worker that dies in the middle of a step costs time, not the run."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path

import pytest
import ray

from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands import grpo, sft
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.ledger.book import Ledger
from tests.faults.invariants import check_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def has_finished_a_step(metrics: Path) -> bool:
    return metrics.exists() and metrics.read_text() != ""


async def kill_the_rollout_worker_once_it_works(metrics: Path) -> str:
    """Waits for the first step's record, so that the second is under way; kills the worker's process."""
    while not has_finished_a_step(metrics):  # noqa: ASYNC110 - the record is a file: nothing there sets an event
        await asyncio.sleep(0.05)
    (name,) = [name for name in ray.util.list_named_actors() if name.startswith("rollout-")]
    ray.kill(ray.get_actor(name), no_restart=False)
    return name


@pytest.mark.fault(1)
def test_killing_the_rollout_worker_during_a_step_does_not_stop_the_run(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    cfg = load.load(["experiment=smoke", f"run_dir={run_dir}", "grpo.steps=3"])
    assert sft.run(cfg) == 0
    place = Workplace.open(cfg)

    async def train_and_kill() -> str:
        killing = asyncio.ensure_future(kill_the_rollout_worker_once_it_works(run_dir / "grpo" / "metrics.jsonl"))
        await grpo.train_run(place, place.policy("sft"), grpo.Books(ledger=ledger, lease=lease), from_step=0)
        return await killing

    with (
        place.lease() as lease,
        closing(Ledger.open(place.folder.ledger, fence=lease)) as ledger,
        cluster_session(cfg.cluster, run_id="killed", command="grpo"),
    ):
        killed = asyncio.run(train_and_kill())
    assert killed.startswith("rollout-")
    assert check_run(run_dir, steps=3, group_size=2, groups_per_step=2).given_up == frozenset()
    rows = [json.loads(line) for line in (run_dir / "grpo" / "attempts.jsonl").read_text().splitlines()]
    lost = [row["lost"]["stage"] for row in rows if row["kind"] == "lost"]
    assert lost
    assert set(lost) == {"actor"}
    assert sum(row["kind"] == "attempt" for row in rows) == 3 * 2 * 2, "every lost try was made up for"
