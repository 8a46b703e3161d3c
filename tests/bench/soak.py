"""A run under random kills for hours: python -m tests.bench.soak [--minutes 120] [--every 60]

The laptop experiment's GRPO, over and over from one SFT policy. Every minute one process of the run, drawn at random among
the kinds that live (driver, learner, rollout, image, reward, tool and limits workers, Ray's own servers), is killed by SIGKILL.
A run that ends is started again by the same command; one that is done is compared with an undisturbed one, and the next
begins. Everything is written to `soak.jsonl` in the folder as it happens, so a soak that is stopped keeps its figures.

lost, twice         task instances that the disturbed runs did not use, or used in two steps
hangs               starts that booked nothing for ten minutes
orphans             processes of ended starts that still ran two minutes later
left_folders        temporary folders of Ray that no living process owns, at the end
growth_mib_per_h    of a driver's memory: the median of the slopes of starts that lived five minutes or more
growth_files        open files of a driver, the last of a start less those after its first minute, the largest of all starts
equal_steps         runs whose every step had the rewards and tokens of the undisturbed one, over runs that were done
bit_equal           runs that ended with its weights, byte for byte, over runs that were done: of this experiment perhaps none,
                    since vLLM's attention on a CPU rounds long contexts by what lies in its prefix cache
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.bench.killed_driver import Result, result

MARK = "GEN_SEARCHER_SOAK"
"""Variable by which every process of the soak is known, those too that have lost their parents."""
KINDS = {
    "ray::RolloutActor": "rollout",
    "ray::LearnerActor": "learner",
    "ray::GeneratorActor": "generator",
    "ray::RewardActor": "reward",
    "ray::ToolActor": "tool",
    "ray::LimitsActor": "limits",
    "raylet": "raylet",
    "gcs_server": "head",
}
ENDS_A_START = frozenset({"driver", "learner", "raylet", "head"})
WEIGHT = 3
"""A worker is drawn so many times as often as what ends the start with it: starting takes most of a minute. What is drawn and
does not live yet is killed as soon as it does."""
HANG_S = 600.0
ORPHANS_S = 120.0
SAMPLE_S = 5.0


@dataclass(slots=True)
class Start:
    """One start of the command."""

    process: subprocess.Popen[bytes]
    began_s: float = field(default_factory=time.monotonic)
    rss: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Seconds since the start, MiB of the driver."""
    files: list[int] = field(default_factory=list[int])

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.began_s

    def sample(self) -> None:
        try:
            driver = psutil.Process(self.process.pid)
            rss, files = driver.memory_info().rss / 2**20, driver.num_fds()
        except psutil.Error:
            return
        if self.age_s > 60.0:
            self.rss.append((self.age_s, rss))
            self.files.append(files)

    @property
    def growth_mib_per_h(self) -> float | None:
        if not self.rss or self.rss[-1][0] < 300.0:
            return None
        times, sizes = zip(*self.rss, strict=True)
        return statistics.linear_regression(times, sizes).slope * 3600.0


class Soak:
    """Starts, kills, watches, compares."""

    def __init__(self, folder: Path, *, settings: tuple[str, ...], every_s: float, seed: int, minutes: float) -> None:
        self.folder = folder
        self.until_s = time.monotonic() + minutes * 60.0
        """Later by every pause."""
        self.settings = settings
        self.every_s = every_s
        self.draw = random.Random(seed)
        self.mark = f"{os.getpid()}-{time.time_ns()}"
        self.starts: list[Start] = []
        self.kills: dict[str, int] = {}
        self.codes: dict[str, int] = {}
        self.hangs = 0
        self.orphans = 0
        self.cycles: list[Path] = []
        self._ended: dict[psutil.Process, float] = {}
        path = folder / "soak.jsonl"
        if path.exists():  # an earlier part of this soak
            for line in map(json.loads, path.read_text().splitlines()):
                if "kill" in line:
                    self.kills[line["kill"]] = self.kills.get(line["kill"], 0) + 1
                if "ended" in line:
                    self.codes[str(line["ended"])] = self.codes.get(str(line["ended"]), 0) + 1
                self.hangs += "hang" in line
                self.orphans += "orphan" in line
        self._wanted = ""
        self._log = path.open("a")

    def say(self, **what: object) -> None:
        self._log.write(json.dumps({"at": time.strftime("%H:%M:%S"), **what}) + "\n")
        self._log.flush()

    def begin(self, run_dir: Path) -> Start:
        out = (run_dir / "log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "gen_searcher", "grpo", *self.settings, f"run_dir={run_dir}"],
            stdout=out,
            stderr=out,
            env={**os.environ, MARK: self.mark},  # noqa: TID251 - what every process of the soak is known by
            start_new_session=True,
        )
        self.starts.append(start := Start(process))
        return start

    def living(self) -> dict[str, list[psutil.Process]]:
        """Processes of the soak by kind."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) != self.mark or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                found.setdefault(self._kind(process), []).append(process)
            except psutil.Error:
                continue
        return found

    def _kind(self, process: psutil.Process) -> str:
        if any(process.pid == start.process.pid for start in self.starts):
            return "driver"
        words = process.cmdline()[:1] or [process.name()]
        for word, kind in KINDS.items():
            if words[0].startswith(word) or Path(words[0]).name == word:
                return kind
        return "other"

    def kill_one(self) -> bool:
        """Kill a process of the kind that is drawn next; False while none of that kind lives."""
        if not self._wanted:
            kinds = ["driver", *KINDS.values()]
            weights = [1 if kind in ENDS_A_START else WEIGHT for kind in kinds]
            (self._wanted,) = self.draw.choices(kinds, weights=weights)
        living = self.living().get(self._wanted)
        if not living:
            return False
        kind, self._wanted = self._wanted, ""
        victim = self.draw.choice(living)
        self.say(kill=kind, pid=victim.pid, age_s=round(self.starts[-1].age_s, 1))
        self.kills[kind] = self.kills.get(kind, 0) + 1
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
        return True

    def look_for_orphans(self) -> None:
        """Processes of ended starts get `ORPHANS_S` to go."""
        now = time.monotonic()
        for process, ended_s in list(self._ended.items()):
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                del self._ended[process]
            elif now - ended_s > ORPHANS_S:
                self.orphans += 1
                self.say(orphan=process.pid, command=process.cmdline()[:3])
                process.kill()
                del self._ended[process]

    def ended(self, start: Start, run_dir: Path) -> None:
        code = start.process.returncode
        self.codes[str(code)] = self.codes.get(str(code), 0) + 1
        now = time.monotonic()
        for those in self.living().values():
            for process in those:
                self._ended.setdefault(process, now)
        last = (run_dir / "log").read_text(errors="replace").strip().splitlines()[-1:]
        self.say(ended=code, age_s=round(start.age_s, 1), steps=_steps(run_dir), last=last)

    def stop(self, start: Start, run_dir: Path) -> None:
        """In order, by SIGTERM."""
        start.process.send_signal(signal.SIGTERM)
        start.process.wait(timeout=300)
        self.ended(start, run_dir)

    def pause(self, start: Start, run_dir: Path) -> float:
        """Stop while the file `pause` is there. Seconds that it took."""
        began_s = time.monotonic()
        self.stop(start, run_dir)
        while (self.folder / "pause").exists():
            time.sleep(1.0)
        return time.monotonic() - began_s

    def run(self, run_dir: Path) -> bool:
        """One run to its end, or to the soak's; True when it is done."""
        progress, changed_s = "", time.monotonic()
        start, next_kill_s = self.begin(run_dir), time.monotonic() + self.every_s
        while True:
            time.sleep(SAMPLE_S)
            start.sample()
            self.look_for_orphans()
            if start.process.poll() is not None:
                self.ended(start, run_dir)
                if start.process.returncode == 0:
                    return True
                if start.process.returncode == 2:
                    raise RuntimeError(f"the command refuses to run, see {run_dir / 'log'}")
                start = self.begin(run_dir)
            if (self.folder / "pause").exists():
                self.until_s += self.pause(start, run_dir)
                start, next_kill_s = self.begin(run_dir), time.monotonic() + self.every_s
            now = time.monotonic()
            if now > self.until_s:
                self.stop(start, run_dir)
                return False
            if now > next_kill_s and self.kill_one():
                next_kill_s = now + self.every_s
            stands = _stands(run_dir)
            if stands != progress:
                progress, changed_s = stands, now
            elif now - changed_s > HANG_S:
                self.hangs += 1
                self.say(hang=run_dir.name, age_s=round(start.age_s, 1))
                start.process.kill()
                changed_s = now

    def whole(self, run_dir: Path) -> None:
        """A run without kills."""
        start = self.begin(run_dir)
        while start.process.poll() is None:
            time.sleep(SAMPLE_S)
            start.sample()
        self.ended(start, run_dir)
        if start.process.returncode:
            raise RuntimeError(f"exit code {start.process.returncode}, see {run_dir / 'log'}")


def _steps(run_dir: Path) -> int:
    metrics = run_dir / "grpo" / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def _told(run_dir: Path) -> dict[int, tuple[float, ...]]:
    """What a synchronous run repeats exactly, by step."""
    names = ("reward/mean", "rollout/completion_tokens", "learner/tokens")
    rows = map(json.loads, (run_dir / "grpo" / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: tuple(row[name] for name in names) for row in rows}


def _stands(run_dir: Path) -> str:
    """Changes whenever the run books something."""
    files = [run_dir / "grpo" / "ledger.sqlite-wal", run_dir / "grpo" / "ledger.sqlite", run_dir / "log"]
    return str([path.stat().st_mtime_ns for path in files if path.exists()])


def left_folders() -> int:
    """Folders that Ray sessions of this package made and no living process works in."""
    used = set[str]()
    for process in psutil.process_iter():
        try:
            used.update(part for part in "\0".join(process.cmdline()).replace("=", "\0").split("\0"))
        except psutil.Error:
            continue
    folders = [path for path in Path("/tmp").glob("gs-ray-*") if path.owner() == Path("/proc/self").owner()]
    return sum(not any(word.startswith(str(path)) for word in used) for path in folders)


def compare(whole: Result, cycles: list[Result]) -> dict[str, float]:
    """Of runs that are done."""
    return {
        "lost": sum(
            len(whole.used.items() - found.used.items()) + abs(found.begun - found.counted) for found in cycles
        ),
        "twice": sum(
            len(found.steps) - len(set(found.steps)) + len(found.used.keys() - whole.used.keys()) for found in cycles
        ),
        "bit_equal": sum(found.weights == whole.weights for found in cycles) / len(cycles) if cycles else 0.0,
        "done": len(cycles),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures, see the top."""
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    settings = tuple(options.settings)
    base = folder / "base"
    if not base.exists():
        if options.start is not None:
            for part in ("sft", "policy", "tasks"):
                shutil.copytree(options.start / part, base / part)
        else:
            command = [sys.executable, "-m", "gen_searcher", "sft", *settings, f"run_dir={base}"]
            subprocess.run(command, check=True)
    soak = Soak(folder, settings=settings, every_s=options.every, seed=options.seed, minutes=options.minutes)
    done: list[Path] = []
    number = 0
    while time.monotonic() < soak.until_s:
        run_dir = folder / f"cycle-{number}"
        number += 1
        if not run_dir.exists():
            shutil.copytree(base, run_dir)
        if soak.run(run_dir):
            done.append(run_dir)
    time.sleep(ORPHANS_S + SAMPLE_S)
    soak.look_for_orphans()
    whole = folder / "whole"
    if not (whole / "grpo" / "policy").exists():
        if options.whole is not None:
            shutil.copytree(options.whole, whole)
        else:
            shutil.copytree(base, whole)
            soak.whole(whole)
    slopes = [slope for start in soak.starts if (slope := start.growth_mib_per_h) is not None]
    return {
        "minutes": options.minutes,
        "kills": soak.kills,
        "starts": len(soak.starts),
        "exit_codes": soak.codes,
        **compare(result(whole), [result(run_dir) for run_dir in done]),
        "equal_steps": sum(_told(run_dir) == _told(whole) for run_dir in done) / len(done) if done else 0.0,
        "hangs": soak.hangs,
        "orphans": soak.orphans,
        "left_folders": left_folders(),
        "growth_mib_per_h": statistics.median(slopes) if slopes else None,
        "growth_files": max((start.files[-1] - start.files[0] for start in soak.starts if start.files), default=None),
    }


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=["experiment=laptop"], help="of the command, as on its own line")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/soak"))
    parser.add_argument("--start", type=Path, help="a run directory whose SFT policy and tasks are taken")
    parser.add_argument("--whole", type=Path, help="an undisturbed run of the same settings and policy")
    return parser


def main() -> None:
    """Print a table and, as the last line, the figures as JSON."""
    figures = measure(parser().parse_args())
    for name, value in figures.items():
        sys.stdout.write(f"{name:>18}  {value}\n")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
