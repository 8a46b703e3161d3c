"""A run whose attempts are made by Ray actors: `python -m tests.faults.ray_driver '{"root": "...", "steps": 9}'`.

Session, pool, stream, ledger, keeper and exit codes are the real ones; the actors and the learner are small, so that a run takes
seconds and its weights say what it has trained on.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.head import while_head_lives
from gen_searcher.cluster.placement import spread
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.cluster.watched import Care
from gen_searcher.config.base import Config
from gen_searcher.config.cluster import ClusterConfig, RoleConfig
from gen_searcher.config.plug import Plug
from gen_searcher.errors import UserError
from gen_searcher.points import Point, passed
from gen_searcher.testing.toy_training import ToyLearner, toy_attempt
from gen_searcher.train.routing import Near
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Attempt, Task
from tests.train.toy_run import toy_rules, toy_training

RESTARTS = ClusterConfig().restarts


TRIES = 6
"""Of an attempt: a node's end may take several in a row, and none may stay lost in these tests."""


class Settings(Config):
    """Of one run."""

    root: Path
    steps: int
    address: Literal["local", "auto"] = "auto"
    workers: int = 4
    role: RoleConfig = RoleConfig()
    latency_s: float = 0.2
    payload_kib: int = 0
    """Comes back with every attempt; above 100 it lies in the object store of its node."""
    listener: Plug | None = None


class ToyRollout:
    """A rollout worker without a policy engine."""

    async def ready(self) -> bool:
        return True

    async def attempt(
        self, task: Task, seed: int, version: int, weights: Sequence[float], latency_s: float, payload_kib: int
    ) -> tuple[Attempt, bytes]:
        await asyncio.sleep(latency_s * (0.5 + derive_seed("latency", seed) / 2**31))
        made = toy_attempt(task, seed=seed, version=version, weights=weights)
        passed(Point.ROLLOUT_FINISHED)
        return made, bytes(payload_kib << 10)


class RemoteAttempts:
    """An `AttemptRunner` over a pool of `ToyRollout`."""

    def __init__(self, pool: Pool, learner: ToyLearner, settings: Settings) -> None:
        self._pool = pool
        self._learner = learner
        self._settings = settings

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        near = Near(key=derive_seed("rollout", task.id), slack=1)
        version, weights = self._learner.version, list(self._learner.served)
        asked = (task, seed, version, weights, self._settings.latency_s, self._settings.payload_kib)
        made, _ = cast("tuple[Attempt, bytes]", await self._pool.call("attempt", *asked, near=near))
        return made


def rollout_pool(settings: Settings) -> Pool:
    """As `Fleet.rollouts` makes it."""
    handles: list[ActorHandle] = []
    for number in range(settings.workers):
        options = {"name": f"rollout-{number}", "max_concurrency": 100, "max_task_retries": 0, **spread(settings.role)}
        handles.append(cast("ActorHandle", ray.remote(max_restarts=RESTARTS)(ToyRollout).options(**options).remote()))
    care = Care(hang_s=60.0, repeats=False, asks_first=True)
    return Pool("rollout", handles, stage="search", wraps_plugs=False, care=care)


async def train_on_actors(settings: Settings) -> None:
    pool = rollout_pool(settings)
    await pool.wait_ready()
    await toy_training(
        settings.root,
        toy_rules(steps=settings.steps, max_staleness=0, tries=TRIES),
        lambda learner: RemoteAttempts(pool, learner, settings),
        checkpoint_every_steps=2,
    )


def run(settings: Settings) -> int:
    """The exit code, as the command line gives it."""
    cfg = ClusterConfig(address=settings.address, cpus=4, object_store_mib=80, fault_plan=settings.listener)
    try:
        with cluster_session(cfg, run_id="toy", command="grpo"):
            asyncio.run(while_head_lives(train_on_actors(settings)))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(name)s: %(message)s")
    sys.exit(run(Settings.model_validate_json(sys.argv[1])))
