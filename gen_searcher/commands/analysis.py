"""`gen-searcher bench analysis`: why the attempts of the benchmark failed.

    bench/attempts-ARM.jsonl -> counterfactual drawings and verdicts -> bench/analysis-ARM.json, a table, the report

Nothing is searched: what the agent found is on record. The generator and the judge of the run are asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from gen_searcher.bench.analysis import Analysis, Case, make_analysis, render
from gen_searcher.bench.counterfactuals import Counterfactuals
from gen_searcher.bench.embedded_oracle import EmbeddedOracle
from gen_searcher.bench.sums import attempt_parts
from gen_searcher.cluster.roles import GeneratorPool, JudgePool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.progress import Progress
from gen_searcher.metrics.report import write_report
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.metrics.report.read import Parsed, jsonl
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.train.attempt import GroupRules
from gen_searcher.train.sampled import all_or_first

log = logging.getLogger(__name__)


def run(cfg: RunConfig) -> int:
    """Analyse every arm, write its file and the report, print the tables."""
    if IMAGE not in cfg.judges:
        raise ConfigError(f"judges.{IMAGE}: missing; the analysis asks about pictures")
    place = Workplace.open(cfg)
    folder = place.folder.bench("" if cfg.bench.suite == "heldout" else cfg.bench.suite)
    files = _files(folder, cfg.bench.analysis.arms)
    with cluster_session(cfg.cluster, run_id=place.folder.root.name, command="bench analysis"):
        found = asyncio.run(_analyses(place, files))
    for arm, analysis in found.items():
        path = folder / f"analysis-{arm}.json"
        path.write_text(json.dumps(analysis, indent=1), encoding="utf-8")
        sys.stdout.write(f"{render(analysis)}\n\n")
    log.info("the report is in %s", write_report(place.folder.root))
    return 0


def _files(folder: Path, arms: tuple[str, ...]) -> dict[str, Path]:
    """The attempts of each arm. Raises ConfigError where there are none."""
    there = {path.stem.removeprefix("attempts-"): path for path in sorted(folder.glob("attempts-*.jsonl"))}
    missing = [arm for arm in arms if arm not in there]
    if missing or not there:
        what = f"no attempts of {', '.join(missing)}" if missing else "no attempts"
        raise ConfigError(f"bench.analysis.arms: {folder} holds {what}; run `gen-searcher bench` in this run_dir first")
    return {arm: there[arm] for arm in arms} if arms else there


async def _analyses(place: Workplace, files: Mapping[str, Path]) -> dict[str, Analysis]:
    async with Crew.raise_actors(place) as crew:
        await crew.wait_ready()
        return {arm: await _analysis(crew, arm, file) for arm, file in files.items()}


async def _analysis(crew: Crew, arm: str, file: Path) -> Analysis:
    cfg, notes = crew.place.cfg, list[str]()
    counterfactuals = Counterfactuals(
        oracle=EmbeddedOracle(store=crew.place.store),
        generator=GeneratorPool(crew.generators),
        judge=JudgePool(crew.rewards, IMAGE),
        bar=cfg.bench.analysis.bar,
        rules=GroupRules(size=1, tries=1 + cfg.grpo.lost_retries, deadline_s=cfg.cluster.call_timeout_s),
    )
    lines = jsonl(file, ATTEMPT_LINE, notes=notes)
    cases: list[Case] = []
    lost: list[AttemptLine] = []
    with Progress(f"analysis {arm}", total=_count(file)) as progress:
        at_once = cfg.cluster.rollout_workers * cfg.cluster.rollout_concurrency
        await all_or_first(_work(lines, counterfactuals, cases, lost, progress) for _ in range(at_once))
    for note in notes:
        log.warning("%s", note)
    if not cases:
        raise ConfigError(f"bench.analysis.arms: {file} holds no attempt: {len(lost)} tries were lost")
    return make_analysis(
        arm,
        sorted(cases, key=lambda case: case.offset),
        bar=cfg.bench.analysis.bar,
        attempts_sha256=_digest(file),
        lost=len(lost),
    )


def _count(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def _digest(file: Path) -> str:
    with file.open("rb") as attempts:
        return hashlib.file_digest(attempts, "sha256").hexdigest()


async def _work(
    lines: Iterator[Parsed[AttemptLine]],
    counterfactuals: Counterfactuals,
    cases: list[Case],
    lost: list[AttemptLine],
    progress: Progress,
) -> None:
    """Take the next line until there is none; several of these share the lines."""
    for parsed in lines:
        attempt = parsed.value.attempt
        if attempt is None:
            lost.append(parsed.value)
            continue
        case = Case(
            task_id=parsed.value.task.id,
            seed=attempt.seed,
            outcome=attempt.trajectory.outcome,
            offset=parsed.offset,
            own=attempt_parts(attempt),
            attribution=await counterfactuals.why(parsed.value.task, attempt),
        )
        cases.append(case)
        failed = sum(bool(one.attribution.complaints) for one in cases)
        progress.advance(len(cases), {"failed": failed})
