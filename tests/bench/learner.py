"""What the learner costs, measured: `python -m tests.bench.learner [--quick]`.

Three questions. Is a packed row as fast per token as a padded batch, once the padding is taken out? How much memory
does the loss over a vocabulary of 151,936 need, against the activations of the model? What does DeepSpeed add to a
bare loop? Times are CPU seconds of one thread, which a busy machine does not change; the arms take turns within one
run and medians are compared. Prints a table for people and, as the last line, one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gen_searcher.config.optim import OptimConfig
from gen_searcher.config.policy import SmallPolicyConfig
from gen_searcher.engines.learner_rank import LearnerRank
from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration, load_qwen
from gen_searcher.engines.small_policy import build_small_policy
from gen_searcher.grpo.logprobs import token_scores
from gen_searcher.grpo.pack import Row, pack
from gen_searcher.grpo.tensors import RowTensors, image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Sample
from tests.engines.learner_setup import IMAGE_TOKEN, tiny_qwen

LENGTHS = (64, 512)
"""Tokens of the shortest and of the longest sample: 1 to 8."""
VOCAB = 151_936
"""Of Qwen3-VL."""
MEMORY_TOKENS, MEMORY_HIDDEN, MEMORY_LAYERS = 2048, 768, 8
"""Size at which memory is measured; each child stays under 4 GB, the naive loss apart from the model's body."""
PARTS = ("activations", "chunked", "naive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """CPU seconds of two arms that took turns."""

    ours_s: float
    theirs_s: float

    @property
    def ratio(self) -> float:
        """How many times as long as theirs ours takes."""
        return self.ours_s / self.theirs_s


def take_turns(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> Arms:
    """Median CPU time of both; one round more, at the start, is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for arm, kept in zip((ours, theirs), times, strict=True):
            started = time.process_time()
            arm()
            kept.append(time.process_time() - started)
    return Arms(ours_s=statistics.median(times[0][1:]), theirs_s=statistics.median(times[1][1:]))


def text_samples(count: int, *, seed: int) -> list[Sample]:
    """Samples of ragged length without pictures, trained on their second half."""
    rng = random.Random(seed)
    samples: list[Sample] = []
    for _ in range(count):
        length = rng.randint(*LENGTHS)
        mask = tuple(index >= length // 2 for index in range(length))
        ids = tuple(rng.randrange(80) for _ in range(length))
        samples.append(Sample(token_ids=ids, loss_mask=mask, logprobs=(0.0,) * length, images=(), advantage=1.0))
    return samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Packed against padded."""

    packed_tokens_per_s: float
    padded_tokens_per_s: float
    fill: float
    """Real tokens over tokens of the padded batch."""

    @property
    def figure(self) -> float:
        """1.0 where a packed row costs per token exactly what a padded batch costs per token, padding included."""
        return self.packed_tokens_per_s / self.padded_tokens_per_s * self.fill


def measure_packing(*, rounds: int) -> Packing:
    """One forward and backward pass over the same samples, with the same loss."""
    samples = text_samples(8, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        tiny_qwen(hidden=128, layers=4).save_pretrained(folder)
        ours = load_qwen(Path(folder), dtype=torch.float32)
        stock = Qwen3VLForConditionalGeneration.from_pretrained(folder, attn_implementation="sdpa").train()
    policy = PackedPolicy(ours, banned_ids=(), chunk_tokens=512)
    row = row_tensors(tuple(samples), image_token_id=IMAGE_TOKEN, pixels=image_never_asked)
    lengths = [len(sample.token_ids) for sample in samples]
    longest = max(lengths)
    ids = torch.tensor([sample.token_ids + (0,) * (longest - len(sample.token_ids)) for sample in samples])
    mask = torch.tensor([[1] * length + [0] * (longest - length) for length in lengths])
    starts = torch.tensor([0, *lengths[:-1]]).cumsum(0)
    # where the padded batch holds the position that the packed row calls `predictor`
    sample_of = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(row.trained_of_sample))
    predictors = row.predictors - starts[sample_of] + sample_of * longest

    def packed() -> torch.Tensor:
        loss = policy(row, 1.0)[0].sum()
        loss.backward()
        return loss

    def padded() -> torch.Tensor:
        hidden = stock.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state.flatten(0, 1)
        loss = token_scores(hidden[predictors], stock.lm_head.weight, row.targets, chunk_tokens=512).logprobs.sum()
        loss.backward()
        return loss

    gap = abs(float(packed()) - float(padded()))
    if gap > 1e-3 * abs(float(packed())):
        raise AssertionError(f"the arms compute different losses, {gap} apart")
    arms = take_turns(packed, padded, rounds=rounds)
    return Packing(
        packed_tokens_per_s=sum(lengths) / arms.ours_s,
        padded_tokens_per_s=sum(lengths) / arms.theirs_s,
        fill=sum(lengths) / (len(samples) * longest),
    )


def image_never_asked(ref: ImageRef) -> torch.Tensor:
    """Patches for samples without pictures."""
    raise AssertionError(f"no sample shows {ref}")


def peak_mib(work: Callable[[], object]) -> float:
    """How far resident memory rises above where it stands, in this process."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to where memory stands
    before = _status_kib("VmRSS")
    work()
    return (_status_kib("VmHWM") - before) / 1024


def _status_kib(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def measure_part(part: str, *, tokens: int) -> float:
    """MiB of one part of a step; runs in a child process, whose memory holds nothing else."""
    if part == "activations":
        model = tiny_qwen(hidden=MEMORY_HIDDEN, layers=MEMORY_LAYERS, std=0.02).model.language_model
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)  # gradients are there in every step: they are not activations
        ids = torch.randint(0, 80, (1, tokens))
        return peak_mib(lambda: model(input_ids=ids, use_cache=False).last_hidden_state.sum().backward())
    hidden = torch.randn(tokens, MEMORY_HIDDEN, requires_grad=True)
    weight = (torch.randn(VOCAB, MEMORY_HIDDEN) * 0.02).requires_grad_()
    hidden.grad, weight.grad = torch.zeros_like(hidden), torch.zeros_like(weight)
    targets = torch.randint(0, VOCAB, (tokens,))

    def chunked() -> None:
        token_scores(hidden, weight, targets, chunk_tokens=OptimConfig().chunk_tokens).logprobs.sum().backward()

    def naive() -> None:
        (hidden @ weight.t()).log_softmax(-1).gather(1, targets[:, None]).sum().backward()

    return peak_mib(chunked if part == "chunked" else naive)


def measure_memory(*, tokens: int) -> dict[str, float]:
    """MiB of each part."""
    found: dict[str, float] = {}
    for part in PARTS:
        command = [sys.executable, "-m", "tests.bench.learner", "--part", part, "--tokens", str(tokens)]
        found[part] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    return found


def laptop_batch(store: ImageStore, *, count: int) -> Sequence[Row]:
    """Samples of the laptop's size: some hundred tokens, two pictures."""
    rng = random.Random(3)
    pictures = [
        store.put(Image.fromarray(np.random.default_rng(n).integers(0, 255, (96, 96, 3), dtype=np.uint8)))
        for n in range(4)
    ]
    image, start = _special("<|image_pad|>"), 256  # bytes only
    samples: list[Sample] = []
    for _ in range(count):
        length = rng.randint(400, 900)
        ids = [rng.randrange(start) for _ in range(length)]
        mask = [index % 4 == 3 and index > 20 for index in range(length)]
        ids[8:8], mask[8:8] = [image, image], [False, False]
        samples.append(
            Sample(
                token_ids=tuple(ids),
                loss_mask=tuple(mask),
                logprobs=(0.0,) * len(ids),
                images=tuple(rng.sample(pictures, 2)),
                advantage=1.0,
            )
        )
    return pack(samples, row_tokens=4096).rows


_SPECIALS: dict[str, int] = {}


def _special(token: str) -> int:
    return _SPECIALS[token]


def measure_deepspeed(*, rounds: int) -> Arms:
    """A step of a learner rank of one against PyTorch's own loop around the same forward pass, at the laptop's size."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        build_small_policy(root / "policy", config=SmallPolicyConfig(), corpus=[f"draw a flag {n}" for n in range(400)])
        config = json.loads((root / "policy" / "config.json").read_text())
        _SPECIALS["<|image_pad|>"] = config["image_token_id"]
        store = ImageStore(root / "images")
        rows = laptop_batch(store, count=8)
        trained = sum(sample.trained_tokens for row in rows for sample in row)
        samples = sum(len(row) for row in rows)
        optim = OptimConfig(lr=1e-4, dtype="float32", row_tokens=4096)
        model = load_qwen(root / "policy", dtype=torch.float32)
        policy = PackedPolicy(model, banned_ids=(), chunk_tokens=optim.chunk_tokens)
        adam = torch.optim.AdamW(policy.parameters(), lr=1e-4, fused=True)
        patches = {i: image_patches(store.get(i)) for row in rows for sample in row for i in sample.images}
        with contextlib.redirect_stdout(sys.stderr):
            learner = LearnerRank(root / "policy", optim=optim, store=store)

        def tensors(row: Row) -> RowTensors:
            return row_tensors(row, image_token_id=config["image_token_id"], pixels=lambda ref: patches[ref])

        def bare() -> None:
            for row in rows:
                (-policy(tensors(row), 1.0)[0].sum() / trained).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            adam.step()
            adam.zero_grad()

        def ours() -> None:
            learner.step(rows, trained_tokens=trained, samples=samples, mode="sft")

        return take_turns(ours, bare, rounds=rounds)


def table(packing: Packing, memory: Mapping[str, float], deepspeed: Arms) -> str:
    """For people."""
    per_token = packing.packed_tokens_per_s, packing.padded_tokens_per_s
    return "\n".join(
        [
            f"packed  {per_token[0]:8.0f} tokens per CPU second",
            f"padded  {per_token[1]:8.0f} tokens per CPU second at fill {packing.fill:.2f}",
            f"        {packing.figure:8.2f} packed over padded, times fill (1.00: padding is the only difference)",
            "",
            f"memory of one step, MiB: model's activations {memory['activations']:.0f}, "
            f"loss {memory['chunked']:.0f}, naive logits {memory['naive']:.0f}",
            "",
            f"step at the laptop's size: DeepSpeed {deepspeed.ours_s:.3f} CPU s, bare loop {deepspeed.theirs_s:.3f} CPU s",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--tokens", type=int, default=MEMORY_TOKENS)
    words = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    if words.part:
        sys.stdout.write(f"{measure_part(words.part, tokens=words.tokens)}\n")
        return
    tokens = 1024 if words.quick else words.tokens
    memory = measure_memory(tokens=tokens)
    packing = measure_packing(rounds=2 if words.quick else 7)
    deepspeed = measure_deepspeed(rounds=2 if words.quick else 7)
    sys.stdout.write(table(packing, memory, deepspeed) + "\n")
    figures = {
        "packed_over_padded_times_fill": round(packing.figure, 3),
        "packed_tokens_per_cpu_s": round(packing.packed_tokens_per_s),
        "padded_tokens_per_cpu_s": round(packing.padded_tokens_per_s),
        "padded_fill": round(packing.fill, 3),
        "loss_memory_over_activations": round(memory["chunked"] / memory["activations"], 3),
        "naive_memory_over_activations": round(memory["naive"] / memory["activations"], 3),
        "memory_tokens": tokens,
        "deepspeed_overhead": round(deepspeed.ratio - 1.0, 3),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
