"""`gen-searcher bench`: the same held-out tasks for every arm, and the table.

tasks -> search -> picture -> verdicts -> table        every stage remembered, so that a killed run resumes
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from gen_searcher.agent.render import Renderer
from gen_searcher.bench import matrix
from gen_searcher.bench import table as tables
from gen_searcher.bench.encounters import encounters
from gen_searcher.bench.spent import Part
from gen_searcher.bench.table import ArmRow, Table
from gen_searcher.cluster.head import while_head_lives
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew, RolloutsOnDemand
from gen_searcher.commands.prices import free_parts
from gen_searcher.commands.remembered import Remembered
from gen_searcher.commands.workplace import Stage, Workplace
from gen_searcher.config.bench import Arm
from gen_searcher.config.root import RunConfig
from gen_searcher.metrics.progress import Progress
from gen_searcher.train.attempt import AttemptRunner, GroupRules
from gen_searcher.train.evaluate import DirectSearcher, evaluate
from gen_searcher.train.run import AttemptLog, TurnReader
from gen_searcher.types import Group, Task

log = logging.getLogger(__name__)

STAGES: Mapping[Arm, Stage] = {"untrained": "base", "sft": "sft", "sft+grpo": "grpo"}
"""Which policy an arm searches with; the arm that is not here does not search."""


def run(cfg: RunConfig) -> int:
    """Evaluate every arm, write the tables and the report, print the tables."""
    if cfg.bench.benchmark is not None:
        from gen_searcher.commands import benchmark

        return benchmark.run(cfg)
    place = Workplace.open(cfg)
    for arm in cfg.bench.arms:
        if arm in STAGES:
            place.policy(STAGES[arm])
    found = _transfer(place) if cfg.bench.generators else _sweep(place) if cfg.bench.adversity else _once(place)
    for name, table in found.items():
        path = place.folder.bench(name) / "table.json"
        path.write_text(json.dumps(table, indent=1), encoding="utf-8")
        sys.stdout.write(f"{table['title']}\n" if "title" in table else "")
        if cfg.bench.generators:
            shown = matrix.render(table, arms=cfg.bench.arms, settings=list(cfg.bench.generators))
            sys.stdout.write(f"{shown}\n\n")
        sys.stdout.write(tables.render(table) + "\n")
    from gen_searcher.metrics.report import write_report

    log.info("the report is in %s", write_report(place.folder.root))
    return 0


def _once(place: Workplace) -> dict[str, Table]:
    """The table of arms, and for the frozen suite those of its parts, by the names of their folders."""
    cfg = place.cfg
    suite, folder = _suite(cfg), cfg.bench.name or _suite(cfg)
    groups = _measure(place, place.folder.bench(folder), suffix="")
    free = free_parts(cfg)
    if not suite:
        table = tables.make_table(groups, seed=cfg.seed, free=free)
        return {folder: _titled(folder, table, groups) if folder else table}
    from gen_searcher.world.knowgen_mini import VERSION

    titled = f"{suite} {VERSION}"
    found = {folder: _titled(titled, tables.make_table(groups, seed=cfg.seed, free=free), groups)}
    arm, last = list(groups.items())[-1]
    for part in ("difficulty", "category", "hops"):
        parts = _parted(last, part)
        table = tables.make_table(parts, seed=cfg.seed, pairs=(), free=free)
        found[f"{folder}-{part}"] = _titled(f"{titled}, {arm} by {part}", table, parts)
    return found


def _sweep(place: Workplace) -> dict[str, Table]:
    """One table: each arm at each setting of the dial, and each setting against the first."""
    cfg = place.cfg
    name = cfg.bench.name or "-".join(filter(None, (_suite(cfg), "adversity")))
    by_arm: dict[str, dict[str, list[Group]]] = {arm: {} for arm in cfg.bench.arms}
    for setting, adversity in cfg.bench.adversity.items():
        search = cfg.search.model_copy(update={"adversity": adversity})
        there = replace(place, cfg=cfg.model_copy(update={"search": search}))
        log.info("adversity %s", setting)
        for arm, groups in _measure(there, place.folder.bench(name), suffix=f"@{setting}").items():
            by_arm[arm][setting] = groups
    named = {matrix.cell(arm, setting): groups for arm, found in by_arm.items() for setting, groups in found.items()}
    pairs = matrix.pairs(cfg.bench.arms, list(cfg.bench.adversity), between_arms=False)
    title = "Adversity: each arm at each setting of the world's dial"
    table = tables.make_table(named, seed=cfg.seed, pairs=pairs, free=free_parts(cfg))
    return {name: _titled(title, table, named)}


def _transfer(place: Workplace) -> dict[str, Table]:
    """One table: what each arm found, drawn by each generator. What was asked before is not asked again."""
    cfg = place.cfg
    name = cfg.bench.name or "-".join(filter(None, (_suite(cfg), "transfer")))
    folder = place.folder.bench(name)
    found: dict[str, list[Group]] = {}
    free: dict[str, Set[Part]] = {}
    for generator, plug in cfg.bench.generators.items():
        there = replace(place, cfg=cfg.model_copy(update={"generator": plug}))
        log.info("generator %s", generator)
        measured = _measure(there, folder, suffix=f"@{generator}")
        found |= {matrix.cell(arm, generator): groups for arm, groups in measured.items()}
        free |= {matrix.cell(arm, generator): free_parts(there.cfg) for arm in measured}
    generators = list(cfg.bench.generators)
    groups = {at: found[at] for at in (matrix.cell(*one) for one in matrix.cells(cfg.bench.arms, generators))}
    pairs = matrix.pairs(cfg.bench.arms, generators, between_arms=True)
    table = tables.make_table(groups, seed=cfg.seed, pairs=pairs, free=free)
    return {name: _titled("Transfer: each policy on each generator", table, groups)}


def _suite(cfg: RunConfig) -> str:
    """Folder of a suite's results; empty for the run's own held-out tasks."""
    return "" if cfg.bench.suite == "heldout" else cfg.bench.suite


def _titled(title: str, table: Table, groups: Mapping[str, Sequence[Group]]) -> Table:
    """With a heading, and with what each row's attempts met."""
    rows: list[ArmRow] = [{**row, **encounters(groups[row["arm"]])} for row in table["arms"]]
    return Table(arms=rows, paired=table["paired"], title=title)


def _parted(groups: Sequence[Group], part: str) -> dict[str, list[Group]]:
    parts: dict[str, list[Group]] = {}
    for group in groups:
        parts.setdefault(group.task.meta[part], []).append(group)
    return dict(sorted(parts.items()))


def _measure(place: Workplace, folder: Path, *, suffix: str) -> dict[str, list[Group]]:
    """Every arm on one cluster; attempts land in `folder` as they end. What `folder` remembers is not asked again."""
    files: Mapping[Arm, Path] = {arm: folder / f"attempts-{arm}{suffix}.jsonl" for arm in place.cfg.bench.arms}
    for file in files.values():
        file.unlink(missing_ok=True)
    with (
        Remembered.open(folder, cfg=place.cfg, store=place.store) as memory,
        cluster_session(place.cfg.cluster, run_id=place.folder.root.name, command="bench"),
    ):
        return asyncio.run(while_head_lives(_bench(place, files, memory)))


async def _bench(place: Workplace, files: Mapping[Arm, Path], memory: Remembered) -> dict[str, list[Group]]:
    async with Crew.raise_actors(place) as crew:
        await crew.wait_ready()
        tasks = place.bench_tasks()
        return {arm: await _arm(crew, arm, tasks, file, memory) for arm, file in files.items()}


async def _arm(crew: Crew, arm: Arm, tasks: Sequence[Task], file: Path, memory: Remembered) -> list[Group]:
    cfg = crew.place.cfg
    if arm not in STAGES:
        attempt = memory.attempt(crew.stages(DirectSearcher()))
        return await _evaluate(crew, file, tasks, attempt, TurnReader(lambda _: ""))
    policy = crew.place.policy(STAGES[arm])
    rollouts = RolloutsOnDemand(
        lambda: crew.rollouts(policy, cfg.agent.sampling_like(cfg.bench), drawn_by=cfg.bench.generators.values()),
        searcher=crew.searcher,
    )
    try:
        read = TurnReader(Renderer.load(policy).text)
        attempt = memory.attempt(crew.stages(memory.searcher(rollouts, policy=policy)))
        return await _evaluate(crew, file, tasks, attempt, read)
    finally:
        await crew.fleet.flush_traces()
        rollouts.stop()


async def _evaluate(
    crew: Crew, path: Path, tasks: Sequence[Task], attempt: AttemptRunner, read: TurnReader
) -> list[Group]:
    cfg = crew.place.cfg
    attempts = AttemptLog(path, read=read)
    with (
        contextlib.closing(attempts),
        Progress(f"bench {path.stem.removeprefix('attempts-')}", total=len(tasks)) as progress,
    ):
        return await evaluate(
            tasks,
            attempt=attempt,
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
