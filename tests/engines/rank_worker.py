"""Runs as a process of its own: one rank of a learner, because DeepSpeed's process group lives as long as the process.

python rank_worker.py SCENARIOS RANK WORLD PORT FOLDER SETTINGS
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
warnings.simplefilter("ignore")

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, ObjectiveConfig  # noqa: E402
from gen_searcher.config.optim import OptimConfig  # noqa: E402
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
    "imitation": imitation,
    "sequences": sequences,
}


def main(names: str, rank: str, world: str, port: str, folder: str, settings: str) -> None:
    optim = OptimConfig.model_validate({**OPTIM.model_dump(), **json.loads(settings)})
    bench = Bench(int(rank), int(world), int(port), Path(folder), optim)
    for name in names.split("+"):
        result = SCENARIOS[name](bench)
        (bench.folder / f"{name}-{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
