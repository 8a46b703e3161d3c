"""The real driver, killed again and again: python -m tests.bench.killed_driver [--kills 20] [--quick]

The smoke experiment with real vLLM, DeepSpeed and Ray, synchronous, with a penalty on length so that every step has a
gradient. Once undisturbed, once killed by SIGKILL at random instants and started again each time by the same command.

lost            task instances of the undisturbed run that the other did not train or reject in the same step
twice           instances trained by more than one step, as metrics.jsonl and the ledger tell it
bit_equal       1 when the final weights of both runs are the same, byte for byte
orphans         processes of killed drivers that still ran two minutes after the last start ended; Ray's own agents take
                up to that long to see that they are alone
repeat_equal    1 when a second undisturbed run gives the same weights (only with --repeat): what the others rest on
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

STEPS = 5
SETTINGS = (
    "experiment=smoke",
    f"grpo.steps={STEPS}",
    "grpo.checkpoint_every_steps=2",
    "grpo.objective.overlong_penalty=1.0",
    "grpo.objective.overlong_frac=1.0",
    "grpo.objective.max_response_tokens=768",
)
RUN_S = 1200.0
"""Longest time of one start."""
ORPHANS_S = 120.0
"""Ray's agents look after their raylet every so often; what still runs after this would stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run left."""

    used: dict[int, tuple[str, str, int]]
    """Visit -> task, state, step."""
    begun: int
    counted: int
    steps: list[int]
    """As metrics.jsonl has them."""
    weights: str
    """Digest of the final policy."""


def command(stage: str, run_dir: Path) -> list[str]:
    return [sys.executable, "-m", "gen_searcher", stage, *SETTINGS, f"run_dir={run_dir}"]


def result(run_dir: Path) -> Result:
    with closing(sqlite3.connect(f"file:{run_dir / 'grpo' / 'ledger.sqlite'}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT visit, task_id, state, step FROM instances").fetchall()
        (begun,) = db.execute("SELECT begun FROM run").fetchone()
    metrics = (run_dir / "grpo" / "metrics.jsonl").read_text().splitlines()
    policy = (run_dir / "grpo" / "policy" / "model.safetensors").read_bytes()
    return Result(
        used={visit: (task, state, step) for visit, task, state, step in rows if state in ("trained", "rejected")},
        begun=begun,
        counted=len(rows),
        steps=[json.loads(line)["step"] for line in metrics],
        weights=hashlib.sha256(policy).hexdigest(),
    )


def whole_run(run_dir: Path, log: Path) -> float:
    """Seconds that it took."""
    started = time.monotonic()
    with log.open("ab") as out:
        done = subprocess.run(command("grpo", run_dir), stdout=out, stderr=out, timeout=RUN_S, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}:\n{log.read_text()[-3000:]}")
    return time.monotonic() - started


def killed_run(run_dir: Path, log: Path, *, kills: int, longest_s: float, seed: int) -> Counter[str]:
    """Start and kill; every other time only once the loop is under way. Counts kills and orphans."""
    instants = random.Random(seed)
    counts: Counter[str] = Counter()
    below: list[psutil.Process] = []
    for number in range(kills):
        with log.open("ab") as out:
            process = subprocess.Popen(command("grpo", run_dir), stdout=out, stderr=out, start_new_session=True)
        if number % 2:
            wait_for_work(process, run_dir)
        try:
            process.wait(timeout=instants.uniform(0.0, longest_s / (8 if number % 2 else 2)))
        except subprocess.TimeoutExpired:
            below += psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            counts["kills"] += 1
            step = run_dir / "grpo" / "checkpoints" / "latest"
            sys.stderr.write(
                f"kill {number + 1}: {step.read_text().strip() if step.exists() else 'no checkpoint'}, "
                f"{sum(each.is_running() for each in below)} processes of killed drivers are still there\n"
            )
            continue
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}:\n{log.read_text()[-3000:]}")
        break
    whole_run(run_dir, log)
    _, alive = psutil.wait_procs(below, timeout=ORPHANS_S)
    counts["orphans"] = len(alive)
    return counts


def wait_for_work(process: subprocess.Popen[bytes], run_dir: Path) -> None:
    """Return once the process has begun or taken up a task instance."""
    path = run_dir / "grpo" / "ledger.sqlite"
    before = issued(path)
    while process.poll() is None and issued(path) <= before:
        time.sleep(0.1)


def issued(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT coalesce(sum(issues), 0) FROM instances").fetchone()[0])
        except sqlite3.OperationalError:  # it is being made
            return 0


def measure(*, kills: int, seed: int, repeat: bool) -> dict[str, float]:
    """Run everything in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="killed-driver-") as name:
        folder = Path(name)
        log = folder / "log"
        with log.open("ab") as out:
            subprocess.run(command("sft", folder / "whole"), stdout=out, stderr=out, timeout=RUN_S, check=True)
        for other in ("broken", "again"):
            shutil.copytree(folder / "whole", folder / other)
        whole_s = whole_run(folder / "whole", log)
        sys.stderr.write(f"undisturbed: {whole_s:.0f} s\n")
        expected = result(folder / "whole")
        figures: dict[str, float] = {}
        if repeat:
            whole_run(folder / "again", log)
            figures["repeat_equal"] = float(result(folder / "again").weights == expected.weights)
            sys.stderr.write(f"a second undisturbed run is bit-equal: {figures['repeat_equal']:g}\n")
        counts = killed_run(folder / "broken", log, kills=kills, longest_s=whole_s, seed=seed)
        found = result(folder / "broken")
        continued = [line for line in log.read_text(errors="replace").splitlines() if " found: " in line]
        sys.stderr.write("\n".join(continued) + "\n")
    return {
        "steps": STEPS,
        "kills": counts["kills"],
        "lost": len(expected.used.items() - found.used.items()) + abs(found.begun - found.counted),
        "twice": len(found.steps) - len(set(found.steps)) + len(found.used.keys() - expected.used.keys()),
        "bit_equal": float(found.weights == expected.weights),
        "orphans": counts["orphans"],
        **figures,
    }


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", action="store_true", help="see whether undisturbed runs are bit-equal")
    parser.add_argument("--quick", action="store_true", help="one kill")
    options = parser.parse_args()
    figures = measure(kills=1 if options.quick else options.kills, seed=options.seed, repeat=options.repeat)
    for name, value in figures.items():
        sys.stdout.write(f"{name:>14}  {value:g}\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
