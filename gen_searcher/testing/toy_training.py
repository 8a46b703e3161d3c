"""Fakes of training that are deterministic and small: a learner of a few numbers, and attempts that depend on them.

Whatever reaches the learner in another order, twice or not at all changes its weights, so that two runs with equal weights
have trained on the same attempts.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from gen_searcher.errors import WorldError
from gen_searcher.points import Point, passed
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Attempt, Batch, Outcome, Reward, Sample, StepReport, Task, Trajectory, Turn

WEIGHTS = 8
FLAT_TASKS = 4
"""Every so many tasks all attempts earn the same."""
LOST_SEEDS = 7
"""Every so many attempts the first try in a process is lost."""


class NoRival:
    """A `Fence` for tests in which nobody else writes."""

    token = 1

    def check(self) -> None:
        """Nobody has taken over."""


class ToyLearner:
    """Fake: a `Learner`, `Scorer` and server of weights in one. Its state is written like a real checkpoint."""

    def __init__(self) -> None:
        """Weights before any step."""
        self.weights = [0.5] * WEIGHTS
        self.momentum = [0.0] * WEIGHTS
        self.served = list(self.weights)
        self.version = 0
        """Of `served`."""

    async def step(self, batch: Batch) -> StepReport:
        """Move every weight by what the batch holds, in its order."""
        gradient = [0.0] * WEIGHTS
        for sample in (sample for row in batch.rows for sample in row):
            for place, (token, logprob) in enumerate(zip(sample.token_ids, sample.logprobs, strict=True)):
                gradient[(token + place) % WEIGHTS] += sample.advantage * (logprob + token / 1000.0)
        await asyncio.sleep(0)
        passed(Point.LEARNER_BACKWARD)
        for index, slope in enumerate(gradient):
            self.momentum[index] = 0.9 * self.momentum[index] + slope / batch.samples
            self.weights[index] += 0.01 * self.momentum[index]
        passed(Point.LEARNER_STEPPED)
        return StepReport(loss=gradient[0], grad_norm=max(gradient), metrics={"learner/logprob_gap_max_nats": 0.0})

    async def logprobs(self, batch: Batch) -> Mapping[Sample, tuple[float, ...]]:
        """Agree with what was sampled."""
        samples = [sample for row in batch.rows for sample in row]
        return {
            sample: tuple(logprob for logprob, on in zip(sample.logprobs, sample.loss_mask, strict=True) if on)
            for sample in samples
        }

    async def publish(self, version: int) -> None:
        """Serve the present weights."""
        self.served = list(self.weights)
        self.version = version

    async def save(self, path: Path) -> None:
        """Write the state beside `path`, then give it its name, then point `latest` to it."""
        part = path.with_name(path.name + ".partial")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "state.json").write_text(json.dumps({"weights": self.weights, "momentum": self.momentum}))
        await asyncio.sleep(0)
        passed(Point.CHECKPOINT_WRITTEN)
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
        passed(Point.CHECKPOINT_RENAMED)
        pointer = path.with_name("latest.part")
        pointer.write_text(path.name + "\n")
        pointer.replace(path.with_name("latest"))
        passed(Point.CHECKPOINT_POINTED)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = json.loads((path / "state.json").read_text())
        self.weights, self.momentum = state["weights"], state["momentum"]


class ToyAttempts:
    """Fake: an `AttemptRunner` whose attempts depend on the seed and on the weights that the learner serves."""

    def __init__(self, learner: ToyLearner, *, latency_s: float) -> None:
        """`latency_s`: mean time of one attempt."""
        self._learner = learner
        self._latency_s = latency_s
        self._tried: set[int] = set()
        self.made = 0
        """Attempts that ended."""

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        """An attempt, after a while. Raises WorldError at the first try of some seeds."""
        version, weights = self._learner.version, list(self._learner.served)
        await asyncio.sleep(self._latency_s * (0.5 + derive_seed("latency", seed) / 2**31))
        if seed % LOST_SEEDS == 0 and seed not in self._tried:
            self._tried.add(seed)
            raise WorldError("planted: the first try is lost", "toy")
        self.made += 1
        return toy_attempt(task, seed=seed, version=version, weights=weights)


def toy_attempt(task: Task, *, seed: int, version: int, weights: Sequence[float]) -> Attempt:
    """What these weights make of the task with this seed, wherever it is asked."""
    draw = derive_seed(seed, *weights)
    turn = Turn(
        prompt_ids=(1, 2),
        completion_ids=(3 + draw % 90, 3 + draw // 90 % 90),
        logprobs=(-(draw % 997) / 997, -(draw % 983) / 983),
        versions=(version, version),
    )
    trajectory = Trajectory(task_id=task.id, turns=(turn,), outcome=Outcome.OUT_OF_TURNS, grounding=None)
    is_flat = derive_seed("flat", task.id) % FLAT_TASKS == 0
    reward = 0.5 if is_flat else (draw % 101) / 100
    return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=Reward(total=reward, parts={}))
