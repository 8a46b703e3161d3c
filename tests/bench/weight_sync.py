"""How long new weights take from the learner to the engine: python -m tests.bench.weight_sync [--quick]

A random Qwen3-VL of 0.1 GB (and 1 GB without --quick) in float32, the real vLLM in this process, the real DeepSpeed
learner in another. The yardstick is one copy of as many bytes between two buffers that are already in memory, timed
between the updates. Medians.

time_over_copy_limit  the engine's update (freeze, load, pack, go on) over one such copy; the worst size
chain_over_copy_limit the learner's export and the update together over one such copy; the worst size
pause_share           the longest time between two engine steps while requests were in flight and weights changed,
                      over a step: 16 completions of 64 tokens, the learner's step on them, export and update. Real
                      steps sample twenty times as many tokens, so this is far above a real share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    warnings.simplefilter("ignore")

import torch

from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import PolicyConfig, SmallPolicyConfig
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.engines.vllm_inproc import InprocEngine
from gen_searcher.engines.vllm_policy import VllmPolicy
from gen_searcher.engines.weight_files import SHARED_MEMORY, SPARE
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Completion, Prompt, Sampling, WeightSource

SMALL = {
    0.1: SmallPolicyConfig(hidden=512, layers=7, heads=8, vocab=768, can_copy=False),
    1.0: SmallPolicyConfig(hidden=1536, layers=8, heads=24, vocab=768, can_copy=False),
}
"""GB of float32 -> sizes of the model."""
REQUESTS = 16
NEW_TOKENS = 64
PROMPT_TOKENS = 16
STEPS_BEFORE = 10
"""Engine steps before the weights change: by then all requests are in flight."""
REPEATS = {0.1: 7, 1.0: 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds, medians."""

    size_gb: float
    copy_s: float
    export_s: dict[str, float]
    update_s: dict[str, float]
    """By place: `shared_memory`, `run_dir`."""
    pause_s: float
    sampling_s: float
    learner_step_s: float

    @property
    def over_copy(self) -> float:
        return self.update_s["shared_memory"] / self.copy_s

    @property
    def chain_over_copy(self) -> float:
        return (self.update_s["shared_memory"] + self.export_s["shared_memory"]) / self.copy_s

    @property
    def pause_share(self) -> float:
        chain_s = self.export_s["shared_memory"] + self.update_s["shared_memory"]
        return self.pause_s / (self.sampling_s + self.learner_step_s + chain_s)


class LearnerProcess:
    """The learner in a process of its own: vLLM and DeepSpeed both own a process's distributed state."""

    def __init__(self, policy: Path, images: Path) -> None:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.bench.weight_sync",
            "--learner",
            str(policy),
            str(images),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words: str) -> float:
        """Run one command there; seconds that it took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the learner has no pipes")
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("took "):
                return float(line.split()[1])
        raise RuntimeError(f"the learner ended with {self._process.wait()}")

    def close(self) -> None:
        self._process.communicate("", timeout=30)


def learner_main(policy: Path, images: Path) -> None:
    """The other process: commands on stdin, times on stdout."""
    from gen_searcher.engines.learner_rank import LearnerRank
    from gen_searcher.grpo.pack import pack
    from gen_searcher.types import Sample

    optim = OptimConfig(row_tokens=4096, dtype="float32")
    rank = LearnerRank(policy, optim=optim, store=ImageStore(images))
    tokens = PROMPT_TOKENS + NEW_TOKENS
    mask = (False,) * PROMPT_TOKENS + (True,) * NEW_TOKENS
    samples = [
        Sample(
            token_ids=tuple((7 * number + index) % 500 for index in range(tokens)),
            loss_mask=mask,
            logprobs=tuple(-6.0 if trained else 0.0 for trained in mask),
            images=(),
            advantage=1.0 if number % 2 else -1.0,
        )
        for number in range(REQUESTS)
    ]
    batch = pack(samples, row_tokens=optim.row_tokens)
    for line in sys.stdin:
        words = line.split()
        started = time.perf_counter()
        if words[0] == "export":
            rank.export(Path(words[1]))
        elif words[0] == "step":
            rank.step(batch.rows, trained_tokens=batch.trained_tokens, samples=batch.samples)
        sys.stdout.write(f"took {time.perf_counter() - started}\n")
        sys.stdout.flush()


async def sample(policy: VllmPolicy) -> list[Completion]:
    """A step's worth of completions at once."""
    prompts = [
        Prompt(token_ids=tuple((number + index) % 500 for index in range(PROMPT_TOKENS)), images=())
        for number in range(REQUESTS)
    ]
    return await asyncio.gather(
        *(policy.complete(prompt, Sampling(max_tokens=NEW_TOKENS, seed=i)) for i, prompt in enumerate(prompts))
    )


async def longest_gap(policy: VllmPolicy, update: Callable[[], asyncio.Future[float]]) -> tuple[float, float]:
    """(longest time between two engine steps around the update, the update's own time) with requests in flight."""
    engine = policy._engine  # pyright: ignore[reportPrivateUsage]
    if not isinstance(engine, InprocEngine):
        raise TypeError("the engine must be in this process")
    inner = engine._engine  # pyright: ignore[reportPrivateUsage]
    real, ends = inner.step, list[float]()
    is_running, loop = asyncio.Event(), asyncio.get_running_loop()

    def watched() -> object:
        found = real()
        ends.append(time.perf_counter())
        if len(ends) == STEPS_BEFORE:
            loop.call_soon_threadsafe(is_running.set)
        return found

    inner.step = watched  # pyright: ignore[reportAttributeAccessIssue]
    running = asyncio.ensure_future(sample(policy))
    await is_running.wait()
    before = len(ends) - 1
    took_s = await update()
    completions = await running
    inner.step = real
    crossed = sum(len(set(completion.versions)) == 2 for completion in completions)
    if crossed < REQUESTS // 2:
        raise RuntimeError(f"only {crossed} of {REQUESTS} requests were in flight while the weights changed")
    return max(after - ahead for ahead, after in zip(ends[before:], ends[before + 1 :], strict=False)), took_s


async def measure(size_gb: float, folder: Path, shared: Path) -> Figures:
    """All times of one size."""
    policy_folder = folder / f"policy-{size_gb}"
    config = PolicyConfig(small=SMALL[size_gb], max_context_tokens=256, kv_cache_mib=64)
    build_small_policy(policy_folder, config=SMALL[size_gb], corpus=["a flag of Poland"])
    learner = LearnerProcess(policy_folder, folder / "images")
    policy = await VllmPolicy.start(policy_folder, config=config, store=ImageStore(folder / "images"))
    size = sum(path.stat().st_size for path in policy_folder.glob("*.safetensors"))
    source, target = torch.zeros(size // 4), torch.zeros(size // 4)
    version = 0
    copies: list[float] = []
    exports: dict[str, list[float]] = {"shared_memory": [], "run_dir": []}
    updates: dict[str, list[float]] = {"shared_memory": [], "run_dir": []}
    pauses: list[float] = []
    samplings: list[float] = []
    steps = [learner.ask("step") for _ in range(2)]

    async def timed_update(path: Path) -> float:
        started = time.perf_counter()
        await policy.load_weights(version, WeightSource(path=str(path)))
        return time.perf_counter() - started

    for repeat in range(REPEATS[size_gb] + 1):
        for place, board in (("shared_memory", shared), ("run_dir", folder)):
            version += 1
            path = board / f"v{version}.safetensors"
            export_s = learner.ask("export", str(path))
            started = time.perf_counter()
            target.copy_(source)
            copy_s = time.perf_counter() - started
            update_s = await timed_update(path)
            if repeat:  # the first round is for warming up
                copies.append(copy_s)
                exports[place].append(export_s)
                updates[place].append(update_s)
            if place == "shared_memory":
                path.replace(shared / SPARE)
            else:
                path.unlink()
    for repeat in range(4):
        version += 1
        path = shared / f"v{version}.safetensors"
        learner.ask("export", str(path))
        started = time.perf_counter()
        await sample(policy)
        sampling_s = time.perf_counter() - started
        pause_s, _ = await longest_gap(policy, lambda path=path: asyncio.ensure_future(timed_update(path)))
        if repeat:
            samplings.append(sampling_s)
            pauses.append(pause_s)
        path.replace(shared / SPARE)
    learner.close()
    await policy.close()
    median = statistics.median
    return Figures(
        size_gb=size / 1e9,
        copy_s=median(copies),
        export_s={place: median(times) for place, times in exports.items()},
        update_s={place: median(times) for place, times in updates.items()},
        pause_s=median(pauses),
        sampling_s=median(samplings),
        learner_step_s=min(steps),
    )


def table(figures: list[Figures]) -> str:
    """For people."""
    lines = [
        "   GB  copy ms  export ms shm/dir  update ms shm/dir  update/copy  chain/copy  pause ms  step s  pause share"
    ]
    for row in figures:
        export, update = row.export_s, row.update_s
        step_s = row.pause_s / row.pause_share
        lines.append(
            f"{row.size_gb:5.2f} {1e3 * row.copy_s:8.1f} {1e3 * export['shared_memory']:10.1f} /{1e3 * export['run_dir']:7.1f}"
            f" {1e3 * update['shared_memory']:10.1f} /{1e3 * update['run_dir']:7.1f} {row.over_copy:12.1f}"
            f" {row.chain_over_copy:11.1f} {1e3 * row.pause_s:9.1f} {step_s:7.2f} {row.pause_share:12.4f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="0.1 GB only")
    parser.add_argument("--learner", nargs=2, type=Path, metavar=("POLICY", "IMAGES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.learner:
        learner_main(*arguments.learner)
        return
    sizes = [0.1] if arguments.quick else sorted(SMALL)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as shared:
        figures = [asyncio.run(measure(size_gb, Path(folder), Path(shared))) for size_gb in sizes]
    note = "\n--quick: 0.1 GB only; 1 GB was not measured" if arguments.quick else ""
    sys.stdout.write(f"{table(figures)}{note}\n")
    result = {
        "time_over_copy_limit": max(row.over_copy for row in figures),
        "pause_share": max(row.pause_share for row in figures),
        "chain_over_copy_limit": max(row.chain_over_copy for row in figures),
        "pause_s": max(row.pause_s for row in figures),
        "sizes_gb": [row.size_gb for row in figures],
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
