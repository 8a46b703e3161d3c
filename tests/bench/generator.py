"""What a trained attempt costs the generator: `python -m tests.bench.generator [--quick]`.

The same tiny Flux2 Klein pipeline draws the same groups of six twice: one picture at a time and nothing kept, as the
Gen-Searcher reference does it, and through our plan, cache and batches. Which members share a grounding is taken from
GRPO runs of this project (2,904 attempts: 82 % grounded, 61 % of the groundings distinct within their group). Both sides
draw a task's pictures with one seed, as the reference does. Times are CPU seconds in the generator, medians over repeats.

`reward_difference`: largest difference between the two sides' rewards of a trained attempt, from a judge that answers in
half points as the reference's does. `level_difference`: largest difference of a colour, of 255, that batching brings.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.drawing import DrawnHow
from gen_searcher.engines.diffusers_model import DiffusersModel, load_pipeline, paint
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.grpo.pictures import Candidate, PictureRules, plan_pictures
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Grounding, ImageRef, Outcome, Reference, Trajectory
from tests.engines.tiny_klein import KLEIN_EXTRA, tiny_klein

GROUPS = ("aaabc-", "aabbcd", "aaaab-", "ab----", "aabcd-", "aaabb-", "abcdee", "aaaab-")
"""Members with one letter wrote the same grounding; `-` wrote none. 39 of 48 grounded, 24 of 39 distinct."""
BATCH = 24
SEED = 0
RULES = PictureRules(share=0.5, objective=DEFAULT_OBJECTIVE, drops_flat=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way of drawing all groups."""

    seconds: float
    pictures: Mapping[tuple[int, int], Image.Image]
    """By group and member."""


def workload(store: ImageStore) -> list[list[Candidate]]:
    """Candidates of every group; groundings of a group choose two of its three pictures."""
    rng = np.random.default_rng(0)
    groups: list[list[Candidate]] = []
    for number, letters in enumerate(GROUPS):
        found = [store.put(Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))) for _ in range(3)]
        groups.append([_candidate(number, letter, found) for letter in letters])
    return groups


def _candidate(number: int, letter: str, found: Sequence[ImageRef]) -> Candidate:
    grounding = None
    if letter != "-":
        chosen = [image for place, image in enumerate(found) if place != "abcde".index(letter) % 3]
        grounding = Grounding(
            gen_prompt=f"task {number}, wording {letter}",
            references=tuple(
                Reference(img_id="IMG_001", note="", title="", url="", page_url="", image=image) for image in chosen
            ),
        )
    outcome = Outcome.MALFORMED if grounding is None else Outcome.GROUNDED
    trajectory = Trajectory(task_id=str(number), turns=(), outcome=outcome, grounding=grounding)
    return Candidate(trajectory=trajectory, seed=SEED, picture_seed=SEED, judgements=())


def one_at_a_time(
    model: DiffusersModel, folder: Path, groups: Sequence[Sequence[Candidate]], store: ImageStore
) -> Side:
    """Every grounding drawn alone by a pipeline that keeps nothing."""
    pipeline = load_pipeline("Flux2KleinPipeline", str(folder), dtype="float32", device="cpu")
    pictures: dict[tuple[int, int], Image.Image] = {}
    started = time.process_time()
    for number, group in enumerate(groups):
        for member, candidate in enumerate(group):
            grounding = candidate.trajectory.grounding
            if grounding is not None:
                shown = [store.get(reference.image) for reference in grounding.references]
                pictures[number, member] = paint(
                    pipeline, model.call, prompt=grounding.gen_prompt, references=shown, seed=SEED
                )
    return Side(seconds=time.process_time() - started, pictures=pictures)


async def ours(model: DiffusersModel, groups: Sequence[Sequence[Candidate]], store: ImageStore) -> Side:
    """Planned, cached, batched: all groups of a step wait for the generator at once."""
    generator = StoredGenerator(model, store, capability=DiffusersModel.declare({"batch": BATCH}))

    async def draw(number: int, member: int, candidate: Candidate, seed: int) -> tuple[tuple[int, int], ImageRef]:
        assert candidate.trajectory.grounding is not None
        return (number, member), await generator.generate(candidate.trajectory.grounding, seed=seed)

    started = time.process_time()
    wanted = [
        draw(number, member, group[member], plan.seed)
        for number, group in enumerate(groups)
        for member, plan in enumerate(plan_pictures(group, rules=RULES))
        if plan is not None and plan.how in (DrawnHow.DRAWN, DrawnHow.REUSED)
    ]
    drawn = await asyncio.gather(*wanted)
    seconds = time.process_time() - started
    return Side(seconds=seconds, pictures={key: store.get(ref) for key, ref in drawn})


def reward(picture: Image.Image) -> float:
    """A judge of half points: how near the picture's colours are to grey."""
    return round(2.0 * (1.0 - float(np.abs(np.asarray(picture, np.float64) - 128.0).mean()) / 128.0)) / 2.0


def measure(folder: Path, *, repeats: int) -> dict[str, float]:
    """Both sides in turn."""
    seconds: dict[str, list[float]] = {"reference": [], "ours": []}
    rewards = levels = 0.0
    for repeat in range(repeats + 1):
        store = ImageStore(Path(tempfile.mkdtemp(dir=folder)))
        model = DiffusersModel(
            pipeline="Flux2KleinPipeline", path=str(folder / "klein"), size_px=(32, 32), steps=8, dtype="float32",
            max_references=2, threads=1, batch=BATCH, extra=KLEIN_EXTRA,
        )  # fmt: skip
        groups = workload(store)
        plain = one_at_a_time(model, folder / "klein", groups, store)
        fast = asyncio.run(ours(model, groups, store))
        assert plain.pictures.keys() == fast.pictures.keys()
        for key, picture in plain.pictures.items():
            other = fast.pictures[key]
            rewards = max(rewards, abs(reward(picture) - reward(other)))
            gap = np.abs(np.asarray(picture, np.int16) - np.asarray(other, np.int16)).max()
            levels = max(levels, float(gap))
        if repeat:  # the first round warms up
            seconds["reference"].append(plain.seconds)
            seconds["ours"].append(fast.seconds)
    attempts = sum(len(group) for group in GROUPS)
    reference_s, ours_s = (statistics.median(seconds[side]) / attempts for side in ("reference", "ours"))
    ratios = [a / b for a, b in zip(seconds["reference"], seconds["ours"], strict=True)]
    return {
        "seconds_ratio": round(statistics.median(ratios), 2),
        "reward_difference": rewards,
        "level_difference": levels,
        "reference_s_per_attempt": round(reference_s, 5),
        "ours_s_per_attempt": round(ours_s, 5),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    torch.set_num_threads(1)
    repeats = 2 if parser.parse_args().quick else 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_klein(folder / "klein")
        result = measure(folder, repeats=repeats)
    sys.stdout.write("".join(f"{key:<26}{value:>10}\n" for key, value in result.items()))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
