"""Steps per hour of the laptop experiment when the web takes its time: one step of staleness against synchronous.

Every search takes lognormal seconds (median 0.3, sigma 1; no cache hides them). Both runs start from one policy after
SFT and make the same number of steps one after the other; the first step of each, which waits for engines to start, does
not count. Beside it the twin: what `gen-searcher plan` says of both shapes from the attempts that the synchronous run
recorded, against what was measured. `over_trl` is null: that half is not written yet.

    python -m tests.bench.end_to_end [--quick] [--keep DIR]

The limit of this workload on two cores is their time: what engine and learner compute in a step, whoever waits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen_searcher.config import load
from gen_searcher.plan.assume import configured_shape, stated_workload
from gen_searcher.plan.forecast import Forecast, forecast
from gen_searcher.plan.recorded import read_measured

SLOW = "{_target_: tests.bench.slow_web.SlowWeb, median_s: 0.3, sigma: 1.0}"
COMMON = [
    "experiment=laptop",
    f"search.search={SLOW}",
    f"search.images={SLOW}",
    "agent.tools.cache_entries=0",
    "grpo.max_logprob_gap_nats=null",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run."""

    demonstrations: int
    steps: int
    groups: int


def prepared(size: Size, folder: Path) -> list[str]:
    """SFT once; the settings of every run."""
    settings = [
        *COMMON,
        f"sft.demonstration_count={size.demonstrations}",
        f"grpo.steps={size.steps}",
        f"grpo.groups_per_step={size.groups}",
    ]
    command("sft", [*settings, f"run_dir={folder}"], folder.with_suffix(".log"))
    return settings


def command(name: str, settings: Sequence[str], log: Path) -> None:
    """Run one command of the program; its output goes to `log`."""
    with log.open("a") as out:
        subprocess.run([sys.executable, "-m", "gen_searcher", name, *settings], check=True, stdout=out, stderr=out)


def step_s(folder: Path) -> float:
    """Mean time from one step to the next, the first left out."""
    rows = [json.loads(line) for line in (folder / "grpo" / "metrics.jsonl").read_text().splitlines()]
    times_s = [row["time_s"] for row in rows]
    return statistics.fmean(after - before for before, after in itertools.pairwise(times_s))


def twin(recorded: Path, settings: Sequence[str], *, staleness: int) -> Forecast:
    """What the plan says of a shape, from what one run recorded."""
    cfg = load.load([*settings, f"run_dir={recorded}"])
    grpo = cfg.grpo.model_copy(update={"max_staleness": staleness})
    was = configured_shape(cfg.plan, cfg.cluster, cfg.grpo)
    measured = read_measured(recorded, stated_workload(cfg.plan), was)
    return forecast(measured.workload, configured_shape(cfg.plan, cfg.cluster, grpo), cfg.plan)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small run that shows only that it works")
    parser.add_argument("--keep", type=Path, help="leave the run directories here")
    options = parser.parse_args(argv)
    size = (
        Size(demonstrations=64, steps=3, groups=2) if options.quick else Size(demonstrations=3200, steps=12, groups=8)
    )
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        settings = prepared(size, root / "synchronous")
        shutil.copytree(root / "synchronous", root / "stale")
        took_s: dict[str, float] = {}
        for name, staleness in (("synchronous", 0), ("stale", 1)):
            run_dir = root / name
            command("grpo", [*settings, f"run_dir={run_dir}", f"grpo.max_staleness={staleness}"], root / f"{name}.log")
            took_s[name] = step_s(run_dir)
        plans = {
            name: twin(root / "synchronous", settings, staleness=staleness)
            for name, staleness in (("synchronous", 0), ("stale", 1))
        }
    sys.stdout.write(f"{'run':<12} {'steps/h':>8} {'step s':>8} {'twin s':>8} {'error':>7}  T* waits for\n")
    errors = {name: plan.step_s / took_s[name] - 1.0 for name, plan in plans.items()}
    for name, plan in plans.items():
        sys.stdout.write(
            f"{name:<12} {3600 / took_s[name]:>8.1f} {took_s[name]:>8.2f} {plan.step_s:>8.2f} {errors[name]:>+7.1%}  "
            f"{plan.bottleneck}\n"
        )
    keys = {
        "over_sync": round(took_s["synchronous"] / took_s["stale"], 3),
        "over_trl": None,
        "twin_error_synchronous": round(errors["synchronous"], 4),
        "twin_error_stale": round(errors["stale"], 4),
    }
    sys.stdout.write(json.dumps(keys) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
