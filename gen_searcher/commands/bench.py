"""`gen-searcher bench`: the same held-out tasks for every arm, and the table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence

import gen_searcher.bench.table as tables
from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew, searcher_of
from gen_searcher.commands.workplace import Stage, Workplace
from gen_searcher.config.bench import Arm
from gen_searcher.config.root import RunConfig
from gen_searcher.metrics.progress import Progress
from gen_searcher.protocols import Searcher
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.evaluate import DirectSearcher, evaluate
from gen_searcher.train.run import AttemptLog, TurnReader
from gen_searcher.types import Group, Task

log = logging.getLogger(__name__)

STAGES: Mapping[Arm, Stage] = {"untrained": "base", "sft": "sft", "sft+grpo": "grpo"}
"""Which policy an arm searches with; the arm that is not here does not search."""


def run(cfg: RunConfig) -> int:
    """Evaluate every arm, write `bench/table.json` and the report, print the table."""
    if cfg.bench.benchmark is not None:
        from gen_searcher.commands import benchmark

        return benchmark.run(cfg)
    place = Workplace.open(cfg)
    for arm in cfg.bench.arms:
        if arm in STAGES:
            place.policy(STAGES[arm])
    with cluster_session(cfg.cluster, run_id=place.folder.root.name, command="bench"):
        groups = asyncio.run(_bench(place))
    table = tables.make_table(groups, seed=cfg.seed)
    path = place.folder.root / "bench" / "table.json"
    path.write_text(json.dumps(table, indent=1), encoding="utf-8")
    sys.stdout.write(tables.render(table) + "\n")
    from gen_searcher.metrics.report import write_report

    log.info("the report is in %s", write_report(place.folder.root))
    return 0


async def _bench(place: Workplace) -> dict[str, list[Group]]:
    async with Crew.raise_actors(place) as crew:
        await crew.wait_ready()
        tasks = place.tasks("heldout")[: place.cfg.bench.tasks]
        return {arm: await _arm(crew, arm, tasks) for arm in place.cfg.bench.arms}


async def _arm(crew: Crew, arm: Arm, tasks: Sequence[Task]) -> list[Group]:
    cfg = crew.place.cfg
    if arm not in STAGES:
        return await _evaluate(crew, arm, tasks, DirectSearcher(), TurnReader(lambda _: ""))
    policy = crew.place.policy(STAGES[arm])
    rollouts = crew.rollouts(policy, cfg.agent.sampling_like(cfg.bench))
    try:
        read = TurnReader(Renderer.load(policy).text)
        return await _evaluate(crew, arm, tasks, searcher_of(rollouts), read)
    finally:
        rollouts.stop()


async def _evaluate(crew: Crew, arm: Arm, tasks: Sequence[Task], searcher: Searcher, read: TurnReader) -> list[Group]:
    cfg = crew.place.cfg
    path = crew.place.folder.root / "bench" / f"attempts-{arm}.jsonl"
    path.unlink(missing_ok=True)
    attempts = AttemptLog(path, read=read)
    with contextlib.closing(attempts), Progress(f"bench {arm}", total=len(tasks)) as progress:
        return await evaluate(
            tasks,
            attempt=crew.attempt(searcher),
            rules=GroupRules(
                size=cfg.bench.samples, tries=1 + cfg.grpo.lost_retries, deadline_s=cfg.cluster.call_timeout_s
            ),
            concurrency=cfg.cluster.rollout_workers * cfg.cluster.rollout_concurrency,
            seed=cfg.seed,
            on_group=_writer(attempts, progress),
        )


def _writer(attempts: AttemptLog, progress: Progress) -> Callable[[Group], None]:
    finished: list[Group] = []

    def on_group(group: Group) -> None:
        finished.append(group)
        attempts.record(group, step=0, group_id=group.task.id, advantages=[None] * len(group.attempts))
        rewards = [reward for each in finished for reward in each.rewards]
        progress.advance(len(finished), {"reward": sum(rewards) / len(rewards)} if rewards else {})

    return on_group
