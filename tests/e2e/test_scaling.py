"""A run that gets a second rollout worker in the middle, and gives it back: more throughput, the same results."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands import grpo, sft
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig
from gen_searcher.ledger.book import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STEPS = 12
"""Enough for an engine to start, to serve and to leave meanwhile."""
SAME = ("reward/mean", "learner/loss", "learner/grad_norm", "rollout/turns", "rollout/completion_tokens")


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for are lines of another part
        await asyncio.sleep(0.05)


def steps_done(run_dir: Path) -> int:
    return len(rows(run_dir / "grpo" / "metrics.jsonl"))


async def scale(run_dir: Path, wish: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gen_searcher", "scale", str(run_dir), wish)
    assert await process.wait() == 0


async def scale_there_and_back(run_dir: Path, log: pytest.LogCaptureFixture) -> float:
    """After step 1 two workers, once both have made a step one again. Returns the seconds from the wish to service."""
    await until(lambda: steps_done(run_dir) >= 1)
    asked_s = time.monotonic()
    await scale(run_dir, "cluster.rollout_workers=2")
    await until(lambda: "rollout actor 1 is in use" in log.text)
    joined_s = time.monotonic() - asked_s
    now = steps_done(run_dir)
    await until(lambda: steps_done(run_dir) >= now + 2)
    await scale(run_dir, "cluster.rollout_workers=1")
    return joined_s


def trained(cfg: RunConfig, run_dir: Path, meanwhile: Callable[[], asyncio.Future[float]] | None) -> float:
    place = Workplace.open(cfg)

    async def run() -> float:
        beside = None if meanwhile is None else meanwhile()
        await grpo.train_run(place, place.policy("sft"), grpo.Books(ledger=ledger, lease=lease), from_step=0)
        return 0.0 if beside is None else await beside

    with (
        place.lease() as lease,
        closing(Ledger.open(place.folder.ledger, fence=lease)) as ledger,
        cluster_session(cfg.cluster, run_id=run_dir.name, command="grpo"),
    ):
        joined_s = asyncio.run(run())
        ledger.check_conserved()
        logging.getLogger(__name__).info("the ledger: %s", ledger.tally())
    return joined_s


@pytest.mark.fault(9)
def test_a_second_rollout_worker_joins_serves_and_leaves_and_every_number_is_as_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    still, scaled = tmp_path / "still", tmp_path / "scaled"
    settings = ["experiment=smoke", f"grpo.steps={STEPS}", "grpo.groups_per_step=4", "grpo.checkpoint_every_steps=100"]
    cfg = load.load([*settings, f"run_dir={still}"])
    assert sft.run(cfg) == 0
    for name in ("policy", "sft", "tasks", "images"):
        if (still / name).exists():
            shutil.copytree(still / name, scaled / name)
    trained(cfg, still, None)

    caplog.clear()
    joined_s = trained(
        load.load([*settings, f"run_dir={scaled}"]),
        scaled,
        lambda: asyncio.ensure_future(scale_there_and_back(scaled, caplog)),
    )
    logging.getLogger(__name__).info("a rollout worker served %.1f s after it was asked for", joined_s)

    left = re.findall(r"rollout actor 1 has left after (\d+) calls", caplog.text)
    assert len(left) == 1
    assert int(left[0]) >= 2, "it served attempts"
    before, after = rows(still / "grpo" / "metrics.jsonl"), rows(scaled / "grpo" / "metrics.jsonl")
    assert [row["step"] for row in after] == list(range(1, STEPS + 1))
    workers = [row["cluster/rollout_workers"] for row in after]
    assert workers[0] == 1.0
    assert max(map(float, map(str, workers))) == 2.0
    assert workers[-1] == 1.0
    for name in SAME:
        assert [row[name] for row in after] == [row[name] for row in before], name
    assert (still / "grpo" / "policy" / "model.safetensors").read_bytes() == (
        scaled / "grpo" / "policy" / "model.safetensors"
    ).read_bytes()
