"""`gen-searcher data ...`: requests -> trajectories -> pictures -> scores -> unique rows -> splits -> files and a card.

Each stage reads the file that the one before it left in `run_dir/data/`, or `data.rows`, and runs alone; `build` runs them
all. What was done is kept in a journal per stage: the same command goes on where a killed one was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Generator, Sequence

from gen_searcher.commands.data_stages import Pipeline
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig
from gen_searcher.data.card import make_card, write_card
from gen_searcher.data.rows import StageName
from gen_searcher.data.stage import StageReport
from gen_searcher.errors import ConfigError, DataError

log = logging.getLogger(__name__)


def propose(cfg: RunConfig) -> int:
    """Requests from all sources."""
    return _run(cfg, [StageName.PROPOSE])


def collect(cfg: RunConfig) -> int:
    """The teacher's work on each request."""
    return _run(cfg, [StageName.COLLECT])


def draw(cfg: RunConfig) -> int:
    """A ground-truth picture for each."""
    return _run(cfg, [StageName.DRAW])


def verify(cfg: RunConfig) -> int:
    """Scores, and what is not good enough."""
    return _run(cfg, [StageName.VERIFY])


def dedupe(cfg: RunConfig) -> int:
    """Rows that are new and that no benchmark holds."""
    return _run(cfg, [StageName.DEDUPE])


def split(cfg: RunConfig) -> int:
    """Which row is for SFT, which for RL, which is held out."""
    return _run(cfg, [StageName.SPLIT])


def export(cfg: RunConfig) -> int:
    """The files that training and benchmarks read."""
    return _run(cfg, [StageName.EXPORT])


def build(cfg: RunConfig) -> int:
    """All stages, then the card."""
    if cfg.data.rows is not None:
        raise ConfigError(
            "data.rows: is the input of one stage run alone; `data build` begins with data.propose.sources"
        )
    code = _run(cfg, list(StageName))
    return code or card(cfg)


def card(cfg: RunConfig) -> int:
    """Write `card.json`, `card.md` and `card.html` from what the stages left."""
    pipeline = Pipeline.open(Workplace.open(cfg))
    path = write_card(pipeline.folder, make_card(pipeline.folder, licence_of=pipeline.licence_of))
    sys.stdout.write(f"{path}\n")
    return 0


def _run(cfg: RunConfig, stages: Sequence[StageName]) -> int:
    place = Workplace.open(cfg)
    with place.lease():
        load.write(cfg, command="data")
        pipeline = Pipeline.open(place)
        with _session(pipeline, stages):
            asyncio.run(_all(pipeline, stages))
    return 0


@contextlib.contextmanager
def _session(pipeline: Pipeline, stages: Sequence[StageName]) -> Generator[None]:
    """Ray, when a stage needs workers."""
    if not any(pipeline.needs_workers(stage) for stage in stages):
        yield
        return
    from gen_searcher.cluster.session import cluster_session

    cfg = pipeline.place.cfg
    serves_policy = StageName.COLLECT in stages and cfg.data.collect.teacher == "policy"
    command = "generate" if serves_policy else "data"
    with cluster_session(cfg.cluster, run_id=pipeline.place.folder.root.name, command=command):
        yield


async def _all(pipeline: Pipeline, stages: Sequence[StageName]) -> None:
    for stage in stages:
        report = await pipeline.run(stage)
        sys.stdout.write(line(report) + "\n")
        sys.stdout.flush()
        if report.made == 0:
            raise DataError(f"{stage}: not one of {report.taken} rows is left; see {pipeline.folder.rejects(stage)}")


def line(report: StageReport) -> str:
    """A stage's report as a person reads it."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.rejected.items())
    rejected = f"{sum(report.rejected.values())} rejected" + (f" ({reasons})" if reasons else "")
    resumed = f", {report.resumed} done before" if report.resumed else ""
    return (
        f"{report.stage}: {report.taken} taken, {report.made} made, {rejected}{resumed}, {report.cost_usd:.4f} USD, "
        f"{report.wall_s:.1f} s"
    )
