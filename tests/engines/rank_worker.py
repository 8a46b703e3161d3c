"""Runs as a process of its own: one rank of a learner, because DeepSpeed's process group lives as long as the process.

python rank_worker.py SCENARIOS RANK WORLD PORT FOLDER SETTINGS
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# Reason: what a rank holds of a gradient is known to FSDP alone.

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parents[2]))
warnings.simplefilter("ignore")

import torch  # noqa: E402
from torch.distributed.fsdp import FSDPModule  # noqa: E402

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, ObjectiveConfig  # noqa: E402
from gen_searcher.config.optim import OptimConfig  # noqa: E402
from gen_searcher.engines import deepspeed_setup  # noqa: E402
from gen_searcher.engines.deepspeed_setup import engine_settings  # noqa: E402
from gen_searcher.engines.learner_rank import LearnerRank, Mode  # noqa: E402
from gen_searcher.engines.rank_group import Place, find  # noqa: E402
from gen_searcher.grpo.pack import pack, split_rows  # noqa: E402
from gen_searcher.image_store import ImageStore  # noqa: E402
from gen_searcher.types import Sample, StepReport  # noqa: E402
from tests.engines.learner_setup import mixed_samples  # noqa: E402

BANNED = (90, 91)
TEMPERATURE = 0.8
OPTIM = OptimConfig(
    lr=1e-2,
    clip_norm=1e9,
    weight_decay=0.01,
    warmup_steps=4,
    schedule="cosine",
    total_steps=20,
    row_tokens=160,
    dtype="float32",
)


class Bench:
    """What a scenario works with."""

    def __init__(self, rank: int, world: int, port: int, folder: Path, optim: OptimConfig) -> None:
        self.place = Place(rank=rank, world=world, store=find("127.0.0.1", port, world=world))
        self.folder = folder
        self.optim = optim
        self.store = ImageStore(folder / "images")

    def learner(self, objective: ObjectiveConfig = DEFAULT_OBJECTIVE, **changes: object) -> LearnerRank:
        return LearnerRank(
            self.folder / "policy",
            optim=self.optim.model_copy(update=changes),
            objective=objective,
            store=self.store,
            place=self.place,
            temperature=TEMPERATURE,
            banned_ids=BANNED,
        )

    def step(self, learner: LearnerRank, samples: list[Sample], mode: Mode = "grpo") -> StepReport:
        batch = pack(samples, row_tokens=self.optim.row_tokens)
        rows = split_rows(batch, self.place.world)[self.place.rank]
        return learner.step(rows, trained_tokens=batch.trained_tokens, samples=batch.samples, mode=mode)


def plain(bench: Bench) -> dict[str, object]:
    """Steps, exports and checkpoints on a batch of which some rows hold pictures and some do not."""
    samples = mixed_samples(bench.store)
    learner = bench.learner()
    scored = learner.logprobs([(sample,) for sample in samples])
    first = bench.step(learner, samples)
    learner.save(bench.folder / "after-1")
    second = bench.step(learner, samples)
    learner.export(bench.folder / "after-2.safetensors")
    third = bench.step(learner, samples)
    learner.export(bench.folder / "after-3.safetensors")
    return {
        "logprobs": scored,
        "losses": [first.loss, second.loss, third.loss],
        "norms": [first.grad_norm, second.grad_norm, third.grad_norm],
        "metrics": dict(first.metrics),
    }


def resumed(bench: Bench) -> dict[str, object]:
    """A fresh learner goes on from `after-1`."""
    samples = mixed_samples(bench.store)
    learner = bench.learner()
    learner.load(bench.folder / "after-1")
    reports = [bench.step(learner, samples) for _ in range(2)]
    learner.export(bench.folder / "resumed-3.safetensors")
    return {"losses": [r.loss for r in reports], "norms": [r.grad_norm for r in reports]}


def uneven(bench: Bench) -> dict[str, object]:
    """One text sample: with two ranks, one of them has nothing but a padding row."""
    learner = bench.learner()
    report = bench.step(learner, [replace(mixed_samples(bench.store)[1], advantage=-1.0)])
    learner.save(bench.folder / "uneven")
    return {"losses": [report.loss], "norms": [report.grad_norm]}


def one_step(bench: Bench) -> dict[str, object]:
    """A step with several rows, its gradient in a checkpoint, its weights in a file; then a second one."""
    samples = mixed_samples(bench.store)
    learner = bench.learner()
    first = bench.step(learner, samples)
    learner.save(bench.folder / "one-step")
    scored = learner.logprobs([(sample,) for sample in samples])
    learner.export(bench.folder / "one-step.safetensors")
    second = bench.step(learner, samples)
    return {
        "losses": [first.loss, second.loss],
        "norms": [first.grad_norm, second.grad_norm],
        "metrics": dict(first.metrics),
        "logprobs": scored,
    }


def held_gradients(bench: Bench) -> dict[str, object]:
    """What one rank holds of the gradient after two rows of a step, of which there is a third."""
    learner = bench.learner(backend="fsdp2")
    policy = learner._policy
    states = [module._get_fsdp_state() for module in policy.modules() if isinstance(module, FSDPModule)]
    sharded = [one for state in states for group in state._fsdp_param_groups for one in group.fsdp_params]
    for sample in mixed_samples(bench.store)[:2]:
        outcome = learner._grpo_row(learner._tensors((sample,)), 100)
        learner._backend.backward(outcome.loss, is_last=False)
    grads = [one.sharded_param.grad for one in sharded]
    whole = [one.unsharded_accumulated_grad for one in sharded]
    return {
        "weights": sum(one.sharded_param.numel() for one in sharded),
        "own": sum(0 if grad is None else grad.to_local().numel() for grad in grads),
        "whole": sum(0 if grad is None else grad.numel() for grad in whole),
    }


def gives_back(bench: Bench) -> dict[str, object]:
    """How often PyTorch had been asked to free unused GPU memory after the start, a step and an export."""
    asked: list[None] = []
    torch.cuda.empty_cache = lambda: asked.append(None)
    learner = bench.learner()
    started = len(asked)
    bench.step(learner, mixed_samples(bench.store))
    stepped = len(asked)
    learner.export(bench.folder / "gives-back.safetensors")
    return {"started": started, "stepped": stepped, "exported": len(asked)}


def partitioned(bench: Bench) -> dict[str, object]:
    """How many weights a rank of ZeRO 3 holds whole between two steps, of how many."""
    learner = bench.learner(zero_stage=3)
    bench.step(learner, mixed_samples(bench.store))
    weights = list(learner._policy.parameters())
    return {"whole": sum(one.numel() for one in weights), "all": sum(one.ds_numel for one in weights)}


def imitation(bench: Bench) -> dict[str, object]:
    """Twenty steps on the same demonstrations."""
    samples = [replace(sample, advantage=1.0) for sample in mixed_samples(bench.store)]
    learner = bench.learner(clip_norm=1.0)
    scored = learner.logprobs([(sample,) for sample in samples])
    reports = [bench.step(learner, samples, "sft") for _ in range(20)]
    return {"logprobs": scored, "losses": [r.loss for r in reports], "norms": [r.grad_norm for r in reports]}


def sequences(bench: Bench) -> dict[str, object]:
    """Two steps of an objective that looks at whole sequences, held to the starting policy, with weights."""
    samples = mixed_samples(bench.store)
    learner = bench.learner(
        ObjectiveConfig.model_validate(
            {
                "name": "gspo",
                "kl": {"estimator": "k2", "coefficient": 0.5},
                "correction": {"mode": "truncate", "level": "token", "cap": 1.3},
            }
        )
    )
    first = bench.step(learner, samples)
    second = bench.step(learner, samples)
    return {
        "losses": [first.loss, second.loss],
        "norms": [first.grad_norm, second.grad_norm],
        "metrics": dict(first.metrics),
        "later": dict(second.metrics),
    }


SCENARIOS: dict[str, Callable[[Bench], dict[str, object]]] = {
    "plain": plain,
    "resumed": resumed,
    "uneven": uneven,
    "one_step": one_step,
    "held_gradients": held_gradients,
    "gives_back": gives_back,
    "partitioned": partitioned,
    "imitation": imitation,
    "sequences": sequences,
}


def partitioning_everything(optim: OptimConfig, *, device: str) -> dict[str, object]:
    """The settings of DeepSpeed, but ZeRO 3 keeps no tensor whole because it is small: all of ours are."""
    settings = engine_settings(optim, device=device)
    zero = cast("dict[str, object]", settings["zero_optimization"])
    return {**settings, "zero_optimization": {**zero, "stage3_param_persistence_threshold": 0}}


def main(names: str, rank: str, world: str, port: str, folder: str, settings: str) -> None:
    optim = OptimConfig.model_validate({**OPTIM.model_dump(), **json.loads(settings)})
    deepspeed_setup.engine_settings = partitioning_everything
    bench = Bench(int(rank), int(world), int(port), Path(folder), optim)
    for name in names.split("+"):
        result = SCENARIOS[name](bench)
        (bench.folder / f"{name}-{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
