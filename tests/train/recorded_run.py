"""A small run directory: groups with real pictures, judged by a judge that looks at pixels, written by the real logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import compose
from gen_searcher.train.attempt import without_evidence
from gen_searcher.train.recorded import Attempts, RecordedStep, step_lines
from gen_searcher.train.replay import Replayer
from gen_searcher.train.run import AttemptLog, RunFolder, TurnReader
from gen_searcher.train.step_log import StepLog
from gen_searcher.types import (
    Attempt,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    StepReport,
    Task,
    Trajectory,
    Turn,
)

REPORT = StepReport(loss=0.1 + 0.2, grad_norm=1.0 / 3.0, metrics={}, arithmetic="a laptop")
COMPOSE = partial(compose, rules=RewardConfig(alpha=0.3))


def judgement(name: str, score: float) -> Judgement:
    return Judgement(
        judge=name,
        score=score,
        parts={"half": score / 2.0, "none": None},
        rationale="",
        model="pixels",
        prompt_sha256="0" * 64,
        latency_s=0.0,
    )


class Looks:
    """Scores the picture that is in the store, by its first pixel."""

    name = "image"

    def __init__(self, store: ImageStore) -> None:
        self.store = store

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert image is not None
        red = self.store.get(image).tobytes()[0]
        return judgement(self.name, red / 255.0)


class Reads:
    """Scores the prompt by its length."""

    name = "text"

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        assert trajectory.grounding is not None
        return judgement(self.name, len(trajectory.grounding.gen_prompt) / 17.0)


def square(store: ImageStore, red: int, *, side_px: int = 32) -> ImageRef:
    return store.put(Image.new("RGB", (side_px, side_px), (red, 7, 9)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run directory under construction."""

    folder: RunFolder

    @classmethod
    def at(cls, root: Path) -> RecordedRun:
        return cls(folder=RunFolder(root=root))

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.folder.images)

    @property
    def judges(self) -> list[Judge]:
        return [Looks(self.store), Reads()]

    async def attempt(self, task: Task, *, seed: int, prompt: str = "", red: int = 0) -> Attempt:
        """Grounded with a picture; without a prompt it never answered."""
        turn = Turn(
            prompt_ids=(1, 2),
            completion_ids=(3, 4),
            logprobs=(-0.1 * seed, -1.0 / 3.0),
            versions=(0, 0),
            images=(square(self.store, 200 + seed),),
        )
        grounding = Grounding(gen_prompt=prompt, references=()) if prompt else None
        outcome = Outcome.GROUNDED if prompt else Outcome.OUT_OF_TURNS
        trajectory = Trajectory(task_id=task.id, turns=(turn,), outcome=outcome, grounding=grounding)
        if grounding is None:
            return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=COMPOSE(trajectory, ()))
        image = square(self.store, red)
        judgements = tuple([await judge.judge(task, without_evidence(trajectory), image) for judge in self.judges])
        return Attempt(
            trajectory=trajectory,
            seed=seed,
            image=image,
            judgements=judgements,
            reward=COMPOSE(trajectory, judgements),
            drawing=Drawing(how=DrawnHow.DRAWN, seed=seed),
        )

    async def group(self, name: str, *, first_seed: int = 1, version: int = 0) -> Group:
        """Two with pictures, one that never answered."""
        task = Task(id=name, prompt="draw", target=None, meta={})
        return Group(
            task=task,
            attempts=(
                await self.attempt(task, seed=first_seed, prompt="a red house", red=51),
                await self.attempt(task, seed=first_seed + 1, prompt="a tree", red=204),
                await self.attempt(task, seed=first_seed + 2),
            ),
            version=version,
        )

    def finish(self, groups: Sequence[Group]) -> None:
        """Groups end: their attempts are written, in this order."""
        log = AttemptLog(self.folder.attempts, read=TurnReader(str))
        for number, group in enumerate(groups):
            advantages = attempt_advantages(group, DEFAULT_OBJECTIVE)
            log.record(group, step=group.version + 1, group_id=f"{group.task.id}-{number}", advantages=advantages)
        log.close()

    def train(self, step: int, groups: Sequence[Group], report: StepReport = REPORT, *, config: str = "a: 1\n") -> None:
        """A step takes groups, in this order."""
        log = StepLog(self.folder, config=config)
        log.record(step, groups, report)
        log.close()

    def recorded(self, step: int) -> RecordedStep:
        return Attempts(self.folder.attempts).step(step_lines(self.folder)[step])

    def replayer(self) -> Replayer:
        return Replayer(store=self.store, judges=self.judges, compose=COMPOSE, objective=DEFAULT_OBJECTIVE)

    def edit(self, old: str, new: str) -> None:
        """Change the record of the attempts behind the program's back."""
        text = self.folder.attempts.read_text(encoding="utf-8")
        assert text.count(old) == 1, text.count(old)
        self.folder.attempts.write_text(text.replace(old, new), encoding="utf-8")


def with_how(attempt: Attempt, how: DrawnHow) -> Attempt:
    assert attempt.drawing is not None
    return replace(attempt, drawing=replace(attempt.drawing, how=how))
