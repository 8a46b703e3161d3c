"""`gen-searcher judge ...`: hold the judges against the golden set, and any judge against the conformance kit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from gen_searcher.config.plug import Plug
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.rewards.golden.calibration import Agreement, Calibration, calibrate
from gen_searcher.rewards.golden.cases import golden_set
from gen_searcher.tools.limited import close

log = logging.getLogger(__name__)

EXIT_DRIFT = 3
"""A judge below the bound, or one that does not conform."""


def calibrate_judges(cfg: RunConfig) -> int:
    """Print the table, write `run_dir/judge/calibration.json`; 3 when a judge is below the bound."""
    found = asyncio.run(_calibrate_all(cfg))
    path = cfg.run_dir / "judge" / "calibration.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(each) for each in found], indent=1), encoding="utf-8")
    sys.stdout.write("\n\n".join(table(each) for each in found) + f"\n\n{path}\n")
    bound = cfg.reward.calibration.min_kappa
    is_good = all(
        each.overall.kappa is not None and each.overall.kappa >= bound and not each.talked_round for each in found
    )
    return 0 if is_good else EXIT_DRIFT


def check(cfg: RunConfig) -> int:
    """Run the conformance kit on one judge and print each case; 3 when one fails."""
    from gen_searcher.testing.judge_kit import check_judge, report

    plug = _chosen(cfg)
    plug.check(("store",), at="judge_check")
    with tempfile.TemporaryDirectory(prefix="gs-judge-") as folder:
        results = asyncio.run(check_judge(plug, ImageStore(Path(folder))))
    sys.stdout.write(report(results) + "\n")
    return 0 if all(result.problem is None for result in results) else EXIT_DRIFT


async def _calibrate_all(cfg: RunConfig) -> list[Calibration]:
    golden = golden_set().spread(cfg.reward.calibration.cases)
    found: list[Calibration] = []
    with tempfile.TemporaryDirectory(prefix="gs-golden-") as folder:
        store = ImageStore(Path(folder))
        for name, plug in cfg.judges.items():
            log.info("calibrating the %s judge on %d golden cases", name, len(golden.cases))
            async with _built(plug, store) as judge:
                found.append(await calibrate(judge, golden, store, repeats=cfg.judge_check.repeats))
    return found


@contextlib.asynccontextmanager
async def _built(plug: Plug, store: ImageStore) -> AsyncGenerator[Judge]:
    judge = cast("Judge", plug.build(store=store))
    try:
        yield judge
    finally:
        await close(judge)


def _chosen(cfg: RunConfig) -> Plug:
    """The judge that the command line names."""
    name = cfg.judge_check.judge
    if name in cfg.judges:
        return cfg.judges[name]
    if ":" in name or "." in name:
        return Plug(target=name.replace(":", "."), keywords=cfg.judge_check.keywords)
    raise ConfigError(
        f"judge_check.judge: there is no judge {name!r}; write one of {', '.join(cfg.judges)}, "
        "or a class as package.module:Class"
    )


def table(found: Calibration) -> str:
    """A calibration as a person reads it."""
    lines = [
        f"{found.judge} judge, {found.model}, golden set {found.golden_version} ({found.cases} cases)",
        f"{'':<20} {'labels':>6} {'exact':>6} {'kappa':>6}",
        _line("all", found.overall),
        *_lines(found.classes),
        *_lines(found.dimensions if len(found.dimensions) > 1 else {}),
        f"test-retest {_share(found.retest)}, swap flips {_share(found.swap_flips)}, "
        f"text applies or not {_share(found.not_applicable)}, lost {len(found.lost)}, "
        f"talked round {len(found.talked_round)}, {found.latency_s * 1000:.0f} ms a verdict, {found.cost_usd:.4f} USD",
    ]
    return "\n".join(lines)


def _lines(agreements: Mapping[str, Agreement]) -> Sequence[str]:
    return [_line(f"  {name}", agreement) for name, agreement in agreements.items()]


def _line(name: str, agreement: Agreement) -> str:
    kappa = "-" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    return f"{name:<20} {agreement.labels:>6} {agreement.exact:>6.3f} {kappa:>6}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
