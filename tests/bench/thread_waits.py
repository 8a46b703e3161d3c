"""What it costs that torch's threads wait for each other: python -m tests.bench.thread_waits [--quick]

A step of a small language model (4 layers of width 128, 4,096 tokens, float32) in a process of its own, with one thread and
with two, the latter at libgomp's own spin count and at the one that every actor of ours has (`ENVIRONMENT` of
`gen_searcher.cluster.session`); first alone on the machine, then beside another process that computes without end. Medians
of rounds in which all of them take turns.

alone_over_default  two threads, our spin count over libgomp's own, alone: what we pay
beside_over_one     two threads at our spin count over one thread, beside the other process
beside_over_default two threads, our spin count over libgomp's own, beside the other process: what we gain
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from gen_searcher.cluster.session import ENVIRONMENT

SPIN = "GOMP_SPINCOUNT"
OURS = {"one thread": (1, True), "two threads": (2, True), "two threads, own spin count": (2, False)}
"""Name -> threads, whether at our spin count."""
WIDTH, LAYERS, HEADS, ROWS, TOKENS, VOCABULARY = 128, 4, 2, 8, 512, 768


def work(threads: int, seconds: float) -> float:
    """Take steps for so long; milliseconds per step."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers = nn.ModuleList(
        nn.TransformerEncoderLayer(WIDTH, HEADS, 3 * WIDTH, batch_first=True, dropout=0.0) for _ in range(LAYERS)
    )
    embedding = nn.Embedding(VOCABULARY, WIDTH)
    ids = torch.randint(0, VOCABULARY, (ROWS, TOKENS))

    def step() -> None:
        hidden = embedding(ids)
        for layer in layers:
            hidden = layer(hidden)
        logits = hidden @ embedding.weight.T
        nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()

    step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    return (time.perf_counter() - began) / steps * 1e3


def started(threads: int, seconds: float, *, ours: bool) -> subprocess.Popen[str]:
    """A process that prints its milliseconds per step."""
    environment = {name: value for name, value in os.environ.items() if name != SPIN}  # noqa: TID251 - of a child
    command = [sys.executable, "-m", "tests.bench.thread_waits", "--work", str(threads), "--seconds", str(seconds)]
    return subprocess.Popen(
        command, env=environment | ({SPIN: ENVIRONMENT[SPIN]} if ours else {}), stdout=subprocess.PIPE, text=True
    )


def step_ms(threads: int, seconds: float, *, ours: bool) -> float:
    """Of one such process, to its end."""
    out, _ = started(threads, seconds, ours=ours).communicate()
    return float(out)


def measured(rounds: int, seconds: float) -> dict[str, float]:
    """Name -> median milliseconds per step."""
    seen: dict[str, list[float]] = {name: [] for name in OURS}
    for _ in range(rounds):
        for name, (threads, ours) in OURS.items():
            seen[name].append(step_ms(threads, seconds, ours=ours))
    return {name: statistics.median(each) for name, each in seen.items()}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=4.0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.work:
        sys.stdout.write(f"{work(options.work, options.seconds)}\n")
        return 0
    rounds, seconds = (1, 1.5) if options.quick else (5, float(options.seconds))
    alone = measured(rounds, seconds)
    other = started(1, 1e6, ours=True)
    try:
        beside = measured(rounds, seconds)
    finally:
        other.kill()
        other.wait()
    sys.stdout.write(f"{'ms a step':<30} {'alone':>8} {'beside one':>11}\n")
    for name in OURS:
        sys.stdout.write(f"{name:<30} {alone[name]:>8.0f} {beside[name]:>11.0f}\n")
    one, two, default = OURS
    keys = {
        "alone_over_default": alone[two] / alone[default],
        "beside_over_one": beside[two] / beside[one],
        "beside_over_default": beside[two] / beside[default],
    }
    sys.stdout.write(json.dumps({name: round(value, 3) for name, value in keys.items()}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
