"""Steps per hour of the laptop experiment when the web takes its time: ours with a step of staleness, ours synchronous, trl.

Every search takes lognormal seconds (median 0.3, sigma 1), drawn from the query and how often it was asked; no cache hides
them. All start from one policy after SFT, take the same tasks in the same order and learn from 48 rollouts a step (8 groups
of 6, flat ones too), at most 6 turns each, one run after the other on a machine that does nothing else. Our learner is two
ranks of one thread. The first step of ours, which holds the start of its engines, does not count; steps per hour are those of
all others together (their mean: with one publish between sampling and learning short steps follow on long ones).

trl (1.16) trains the language model of our policy with its weights, tokenizer and prompts, through its own tool loop and
`transformers.generate` on two threads, behind our toolbox and the same slow web (`tests.bench.trl_agent`): its vLLM mode
is `--vllm`. What it leaves out is in its favour: it reads no pictures, draws none, judges none and gives up a rollout whose
call is malformed. For it, name a Python that can import trl (`--trl-python`); without one `over_trl` is null.

Beside them the twin (`gen-searcher plan`): the attempts, learner steps and publishing that a run recorded, each turned into
what it would have taken alone, go through the production scheduler on a virtual clock. Its service model of this machine: an
engine's step takes longer by a constant for every further request (`plan.engine.slowdown`, fitted to tokens and latencies of
the synchronous run's turns); generator and judges do one thing at a time; learner, engine, generator and judges ask for as
many cores as their processes took in the synchronous run while they were busy (`tests.bench.core_use`). They get even shares of
the two cores, less what the driver and Ray's servers took. A tool's latency is its own. `twin_error` is the larger one of the
errors of the two runs' mean step times, without the steps whose groups were begun before anything was warm.

    python -m tests.bench.end_to_end [--quick] [--keep DIR] [--parts sft,ours,trl] [--trl-python PYTHON] [--vllm]

The limit T* of this workload on two cores is their time: the CPU seconds that a step of the synchronous run takes, over two.
With that work staleness wins at most what the synchronous run leaves idle (`limit_over_sync`); a run that needs fewer CPU
seconds for a step, as with fewer threads that wait for each other, can win more. `over_sync_apart` is what the twin says of
the same workload where no two workers share cores, as on a cluster.

With `--keep` what DIR already holds is not run again, so that the parts can be measured one by one.
`--quick` makes three short steps of the synchronous run alone, on a policy that has learned nothing, and the twin of it: it
shows that the parts work, its figures say nothing, and the keys of what it leaves out are null.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.root import RunConfig
from gen_searcher.plan.assume import configured_shape, stated_workload
from gen_searcher.plan.forecast import Forecast, forecast
from gen_searcher.plan.recorded import Measured, read_measured
from tests.bench.core_use import OTHERS, CoreUse, cores_busy, cores_used

SLOW = "{_target_: tests.bench.slow_web.SlowWeb, median_s: 0.3, sigma: 1.0}"
RANKS = 2
COMMON = (
    f"search.search={SLOW}",
    f"search.images={SLOW}",
    "agent.tools.cache_entries=0",
    "grpo.drop_flat_groups=false",
    "grpo.max_logprob_gap_nats=null",
    "grpo.checkpoint_every_steps=100",
    f"cluster.learner_ranks={RANKS}",
    "grpo.optim.threads=1",
)
CORES = 2
PEER = {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
STALENESS = {"synchronous": 0, "stale": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run."""

    settings: tuple[str, ...]
    trl_steps: int


FULL = Size(settings=("experiment=laptop", "grpo.steps=16", "plan.steps=112"), trl_steps=3)
QUICK = Size(settings=("experiment=smoke", "grpo.steps=3", "agent.max_turns=2", "plan.steps=10"), trl_steps=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where everything lies."""

    root: Path
    size: Size

    @property
    def settings(self) -> list[str]:
        """Of every run."""
        return [*self.size.settings, *COMMON]

    def run_dir(self, name: str) -> Path:
        """Of one run."""
        return self.root / name

    def done(self) -> list[str]:
        """Which of our runs are."""
        return [name for name in STALENESS if (self.run_dir(name) / "grpo" / "policy" / "config.json").is_file()]

    def start(self, command: str, name: str, *settings: str) -> subprocess.Popen[bytes]:
        """One command of the program; its output goes beside its run directory."""
        with self.run_dir(name).with_suffix(".log").open("a") as out:
            asked = [*self.settings, f"run_dir={self.run_dir(name)}", *settings]
            return subprocess.Popen([sys.executable, "-m", "gen_searcher", command, *asked], stdout=out, stderr=out)

    def grpo(self, name: str) -> None:
        """One of our two, to its end."""
        process = self.start("grpo", name, f"grpo.max_staleness={STALENESS[name]}")
        with CoreUse(process.pid, self.core_use(name)):
            waited(process)

    def core_use(self, name: str) -> Path:
        """Samples of the run."""
        return self.run_dir(name).with_suffix(".cores")

    def share(self) -> None:
        """Let the stale run begin where the synchronous one does."""
        if not self.run_dir("stale").exists():
            begun = shutil.ignore_patterns("grpo", "leases")
            shutil.copytree(self.run_dir("synchronous"), self.run_dir("stale"), ignore=begun)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How the twin's workers serve."""

    slowdown: float = 0.0
    publish_s: float = 0.0
    cores: Mapping[str, float] = field(default_factory=dict[str, float])
    """Taken by each role while it is busy, 1 unless it was measured."""

    def settings(self, name: str) -> list[str]:
        """Of the twin of this run; its engine takes as many requests at once as ours."""
        taken = {role: self.cores.get(role, 1.0) for role in ("engine", "generator", "reward", "learner")}
        return [
            f"grpo.max_staleness={STALENESS[name]}",
            f"plan.cores={CORES - self.cores.get(OTHERS, 0.0)}",
            f"plan.engine={{batch: 48, slowdown: {self.slowdown}, threads: {taken['engine']}}}",
            f"plan.generator={{batch: 64, slowdown: 1.0, threads: {taken['generator']}}}",
            f"plan.reward={{batch: 64, slowdown: 1.0, threads: {taken['reward']}}}",
            f"plan.learner_threads={taken['learner'] / RANKS}",
            f"plan.publish_s={self.publish_s}",
        ]


def waited(process: subprocess.Popen[bytes]) -> None:
    """Raises CalledProcessError when it failed."""
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)


def run_sft(bench: Bench) -> None:
    """The policy that all start from."""
    if not (bench.run_dir("synchronous") / "sft" / "policy" / "config.json").is_file():
        waited(bench.start("sft", "synchronous"))


def run_ours(bench: Bench) -> None:
    """One after the other; a run that is done is not run again."""
    bench.share()
    for name in STALENESS:
        bench.grpo(name)


def run_quickly(bench: Bench) -> None:
    """One of them, from a policy that nobody has trained."""
    place = Workplace.open(load.load([*bench.settings, f"run_dir={bench.run_dir('synchronous')}"]))
    place.tasks("train")
    shutil.copytree(place.policy("base"), place.folder.policy("sft"))
    bench.grpo("synchronous")


def run_trl(bench: Bench, python: Path, *, vllm: bool) -> None:
    """Steps of trl, by its own Python."""
    out = bench.root / "trl.json"
    if out.is_file():
        return
    run = bench.run_dir("synchronous")
    command = [str(python), "-m", "tests.bench.trl_agent", "--policy", str(run / "sft" / "policy"), "--run", str(run)]
    command += ["--steps", str(bench.size.trl_steps), "--out", str(out), *(["--vllm"] if vllm else []), "--"]
    with (bench.root / "trl.log").open("a") as log:
        env = {**os.environ, **PEER}  # noqa: TID251 - what the peer's libraries are told, beside what they have
        subprocess.run([*command, *bench.settings], check=True, stdout=log, stderr=log, env=env)


def trl_steps_s(bench: Bench) -> list[float]:
    """What each of its steps took; empty when it was not run."""
    out = bench.root / "trl.json"
    if not out.is_file():
        return []
    ends_s = [0.0, *(step["at_s"] for step in json.loads(out.read_text()))]
    return [after - before for before, after in itertools.pairwise(ends_s)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run of ours and what the twin says of it."""

    steps_s: Sequence[float]
    plan: Forecast
    apart: Forecast
    """Were no two workers on the same cores."""

    @property
    def error(self) -> float:
        """Of the mean, which is what a forecast says."""
        return self.plan.step_s / statistics.fmean(self.steps_s) - 1.0


def twin(bench: Bench) -> dict[str, Told]:
    """Each run that is done, foretold from what it recorded; how workers serve is known from the synchronous one."""
    service = served(bench)
    told: dict[str, Told] = {}
    for name in bench.done():
        cfg = configured(bench, name, service)
        found = measured(bench, name, service)
        shape = configured_shape(cfg.plan, cfg.cluster, cfg.grpo)
        plan, apart = (forecast(found.workload, one, cfg.plan) for one in (shape, replace(shape, cores=None)))
        told[name] = Told(steps_s=found.steps_s, plan=plan, apart=apart)
    return told


def served(bench: Bench) -> Service:
    """As the synchronous run shows, in which the learner never works beside the others."""
    name = "synchronous"
    first = measured(bench, name, Service())
    start_s, end_s = min(first.booked_s.values()), max(first.booked_s.values())
    cores = cores_used(bench.core_use(name), first.busy, start_s=start_s, end_s=end_s)
    found = measured(bench, name, Service(cores=cores))
    return Service(slowdown=found.slowdown, publish_s=found.workload.publish_s, cores=cores)


def measured(bench: Bench, name: str, service: Service) -> Measured:
    """What a run recorded, read with workers that serve like this."""
    cfg = configured(bench, name, service)
    shape = configured_shape(cfg.plan, cfg.cluster, cfg.grpo)
    return read_measured(bench.run_dir(name), stated_workload(cfg.plan), shape)


def cores_at_work(bench: Bench, name: str) -> float:
    """Cores that a run kept busy, on the average from its first step's end to its last one's."""
    booked_s = measured(bench, name, Service()).booked_s.values()
    return cores_busy(bench.core_use(name), start_s=min(booked_s), end_s=max(booked_s))


def configured(bench: Bench, name: str, service: Service) -> RunConfig:
    """The configuration of the twin of a run."""
    return load.load([*bench.settings, *service.settings(name), f"run_dir={bench.run_dir(name)}"])


def report(bench: Bench) -> dict[str, float | None]:
    """A table for people; the keys."""
    told, peer_s = twin(bench), trl_steps_s(bench)
    rows = {name: one.steps_s for name, one in told.items()} | ({"trl": peer_s} if peer_s else {})
    say = sys.stdout.write
    say(
        f"{'run':<12} {'steps/h':>8} {'median s':>9} {'mean s':>8} {'steps':>6} {'twin s':>8} {'error':>7} {'twin T*':>8}  waits for\n"
    )
    for name, steps_s in rows.items():
        middle_s, mean_s = statistics.median(steps_s), statistics.fmean(steps_s)
        say(f"{name:<12} {3600 / mean_s:>8.1f} {middle_s:>9.2f} {mean_s:>8.2f} {len(steps_s):>6}")
        one = told.get(name)
        say(
            "\n"
            if one is None
            else f" {one.plan.step_s:>8.2f} {one.error:>+7.1%} {one.plan.limit_s:>8.2f}  {one.plan.bottleneck}\n"
        )
    if not peer_s:
        say("trl was not run: name a Python that can import it with --trl-python (--quick leaves it out)\n")
    mean = {name: statistics.fmean(steps_s) for name, steps_s in rows.items()}
    busy = cores_at_work(bench, "synchronous")
    limit_s = mean["synchronous"] * busy / CORES
    say(
        f"a synchronous step keeps {busy:.2f} of {CORES} cores busy: T* is {limit_s:.2f} s, {CORES / busy:.2f} times as fast as "
        f"it at most\n"
    )
    apart = ratio({name: one.apart.step_s for name, one in told.items()}, "synchronous", "stale")
    if apart is not None:
        say(f"were no two workers on the same cores, the twin says {apart:.2f} times as fast\n")
    return {
        "over_sync": ratio(mean, "synchronous", "stale"),
        "over_sync_apart": apart,
        "limit_over_sync": round(CORES / busy, 3),
        "limit_s": round(limit_s, 2),
        "over_trl": ratio(mean, "trl", "stale"),
        "over_trl_synchronous": ratio(mean, "trl", "synchronous"),
        "twin_error": round(max(abs(one.error) for one in told.values()), 4),
        **{f"twin_error_{name}": round(one.error, 4) for name, one in told.items()},
    }


def ratio(mean_s: Mapping[str, float], slow: str, fast: str) -> float | None:
    """None when one of them was not run."""
    return round(mean_s[slow] / mean_s[fast], 3) if slow in mean_s and fast in mean_s else None


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small run that shows only that it works")
    parser.add_argument("--keep", type=Path, help="leave the run directories here, and go on with what is there")
    parser.add_argument("--parts", default="sft,ours,trl", help="what to run before the report")
    parser.add_argument("--trl-python", type=Path, help="a Python that can import trl")
    parser.add_argument("--vllm", action="store_true", help="let trl sample with vLLM")
    options = parser.parse_args(argv)
    parts = str(options.parts).split(",")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(root=(options.keep or Path(scratch)).resolve(), size=QUICK if options.quick else FULL)
        bench.root.mkdir(parents=True, exist_ok=True)
        if options.quick:
            run_quickly(bench)
        else:
            if "sft" in parts:
                run_sft(bench)
            if "ours" in parts:
                run_ours(bench)
            if "trl" in parts and options.trl_python is not None:
                run_trl(bench, options.trl_python, vllm=options.vllm)
        keys = report(bench) if "synchronous" in bench.done() else {}
    sys.stdout.write(json.dumps(keys) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
