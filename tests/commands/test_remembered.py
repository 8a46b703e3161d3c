"""What one search found is drawn by every generator, and what was paid for is not asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image
from pydantic import ValidationError

from gen_searcher.cluster.roles import RolloutPool
from gen_searcher.commands import preflight
from gen_searcher.commands.crew import RolloutsOnDemand
from gen_searcher.commands.fingerprints import FORMER_BYTES
from gen_searcher.commands.remembered import Remembered, limited_to
from gen_searcher.config import load
from gen_searcher.config.plug import Plug
from gen_searcher.drawing import Capability
from gen_searcher.errors import ConfigError
from gen_searcher.image_store import ImageStore
from gen_searcher.train.attempt import member_seed
from gen_searcher.train.useful import Stages
from gen_searcher.types import (
    Attempt,
    Grounding,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    Trajectory,
)

TASK = Task(id="t", prompt="p", target=None, meta={})


class Generator:
    """Declares what it is told to; nobody builds it."""

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        most = keywords.get("most")
        return Capability(max_prompt_chars=most if isinstance(most, int) else None)


def any_length(name: str = "one") -> Plug:
    return Plug(target=f"{__name__}.Generator", keywords={"name": name})


def short(most: int, name: str = "one") -> Plug:
    return Plug(target=f"{__name__}.Generator", keywords={"name": name, "most": most})


@dataclass
class Counting:
    """A searcher, a generator and a judge at once."""

    store: ImageStore
    shade: int = 0
    name: str = "image"
    asked: list[str] = field(default_factory=list[str])

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        self.asked.append("search")
        found = Grounding(gen_prompt=f"{task.prompt} {seed}", references=())
        return Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=found)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        del grounding, seed
        self.asked.append("draw")
        return self.store.put(Image.new("RGB", (8, 8), (self.shade, 0, 0)))

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        del task, trajectory, image
        self.asked.append("judge")
        return Judgement(judge="image", score=1.0, parts={}, rationale="", model="m", prompt_sha256="", latency_s=1.0)


def reward(trajectory: Trajectory, judgements: object) -> Reward:
    del trajectory, judgements
    return Reward(total=1.0, parts={})


async def attempts(folder: Path, parts: Counting, *generators: str) -> list[Attempt]:
    """One task at each of these generators, from journals in `folder`."""
    (folder / "policy").mkdir(exist_ok=True)
    (folder / "policy" / "config.json").write_text("{}")
    cfg = load.load(["experiment=smoke", f"run_dir={folder}/run"])
    made: list[Attempt] = []
    for shade, generator in enumerate(generators):
        there = cfg.model_copy(update={"generator": any_length(generator)})
        drawer = replace(parts, shade=shade)
        drawer.asked = parts.asked
        with Remembered.open(folder, cfg=there, store=parts.store) as memory:
            searcher = memory.searcher(parts, policy=folder / "policy")
            stages = Stages(
                searcher=searcher, generator=drawer, judges=[parts], compose=reward, picture_seed=member_seed
            )
            made.append(await memory.attempt(stages)(TASK, seed=3))
    return made


async def test_an_arm_searches_once_whatever_draws(tmp_path: Path) -> None:
    parts = Counting(ImageStore(tmp_path / "store"))
    one, other = await attempts(tmp_path, parts, "one", "other")
    assert parts.asked == ["search", "draw", "judge", "draw", "judge"]
    assert one.trajectory == other.trajectory
    assert one.image != other.image


async def test_a_second_run_asks_nobody_and_gives_the_same_with_the_same_times(tmp_path: Path) -> None:
    parts = Counting(ImageStore(tmp_path / "store"))
    first = await attempts(tmp_path, parts, "one", "other")
    parts.asked.clear()
    again = await attempts(tmp_path, parts, "one", "other")
    assert parts.asked == []
    assert again == first
    times = [[one.drawing.latency_s for one in each if one.drawing is not None] for each in (first, again)]
    assert times[0] == times[1]
    assert all(time_s > 0.0 for time_s in times[0])


async def test_a_policy_is_not_given_what_another_with_the_same_beginning_found(tmp_path: Path) -> None:
    parts, cfg = Counting(ImageStore(tmp_path / "store")), load.load(["experiment=smoke", f"run_dir={tmp_path}/run"])
    for arm in ("sft", "grpo", "sft"):
        (folder := tmp_path / arm).mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        with (folder / "model.safetensors").open("wb") as file:
            file.seek(FORMER_BYTES)
            file.write(arm.encode().ljust(8))
        with Remembered.open(tmp_path, cfg=cfg, store=parts.store) as memory:
            searcher = memory.searcher(parts, policy=folder)
            await asyncio.gather(*(searcher.search(TASK, seed=3) for _ in range(2)))
    assert parts.asked == ["search"] * 2


async def test_how_many_pictures_are_shown_counts_where_a_search_can_bring_more(tmp_path: Path) -> None:
    parts, folder = Counting(ImageStore(tmp_path / "store")), tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for most in (15, 16, 14, 14):  # five calls bring fifteen at most
        cfg = load.load(["experiment=smoke", f"run_dir={tmp_path}/run", f"policy.max_images={most}"])
        with Remembered.open(tmp_path, cfg=cfg, store=parts.store) as memory:
            await memory.searcher(parts, policy=folder).search(TASK, seed=3)
    assert parts.asked == ["search"] * 2


async def test_the_longest_prompt_counts_where_a_generator_has_a_limit(tmp_path: Path) -> None:
    parts, folder = Counting(ImageStore(tmp_path / "store")), tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    cfg = load.load(["experiment=smoke", f"run_dir={tmp_path}/run"])

    async def search(first: Plug, *further: Plug) -> int:
        """Once more; how often somebody was asked so far."""
        bench = cfg.bench.model_copy(update={"generators": {str(n): plug for n, plug in enumerate(further)}})
        there = cfg.model_copy(update={"generator": first, "bench": bench})
        with Remembered.open(tmp_path, cfg=there, store=parts.store) as memory:
            await memory.searcher(parts, policy=folder).search(TASK, seed=3)
        return len(parts.asked)

    unlimited = cfg.model_copy(update={"generator": any_length()})
    assert limited_to("who", unlimited) == "who", "what was paid for before there were limits still counts"
    assert await search(any_length()) == 1
    assert await search(any_length(), any_length("other")) == 1, "no limit: as ever"
    assert await search(short(100)) == 2
    assert await search(short(100, "other")) == 2, "the same limit"
    assert await search(short(90)) == 3
    assert await search(any_length(), short(90)) == 3, "the shortest of a sweep is everybody's"
    assert await search(short(90), any_length()) == 3


async def test_workers_are_not_started_for_what_is_remembered() -> None:
    def start() -> NoReturn:
        raise AssertionError("nothing was to be searched")

    idle = RolloutsOnDemand(start, searcher=RolloutPool)
    idle.stop()
    with pytest.raises(AssertionError, match="nothing was to be searched"):
        await idle.search(TASK, seed=0)


def test_a_generator_that_does_not_exist_is_named_before_anything_is_spent(tmp_path: Path) -> None:
    words = ["experiment=smoke", "sweep=transfer", f"run_dir={tmp_path}/run"]
    cfg = load.load(words)
    assert list(cfg.bench.generators) == ["embedded", "compositor"]
    assert list(preflight.problems(cfg, command="bench")) == []
    wrong = load.load([*words, "bench.generators.mine={_target_: gen_searcher.engines.compositor.Composer}"])
    (problem,) = preflight.problems(wrong, command="bench")
    assert problem.startswith("bench.generators.mine._target_: gen_searcher.engines.compositor has no class 'Composer'")


def test_two_sweeps_at_once_are_refused(tmp_path: Path) -> None:
    words = ["experiment=smoke", "sweep=transfer", f"run_dir={tmp_path}/run"]
    with pytest.raises((ConfigError, ValidationError), match="two sweeps"):
        load.load([*words, "bench.adversity={calm: {}}"])
    with pytest.raises((ConfigError, ValidationError), match="not on a published benchmark"):
        load.load([*words, "benchmark=knowgen"])
