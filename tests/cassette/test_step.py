"""A whole GRPO step, 8 groups of 6, as its workers make it: what is asked, what is paid, and what a second run pays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gen_searcher.cluster.actors.generator import GeneratorActor
from gen_searcher.cluster.actors.reward import RewardActor
from gen_searcher.commands.grpo import headline
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.metrics.values import numbers
from gen_searcher.tools.meter import merged
from gen_searcher.types import Grounding, Group, ImageRef, Judgement, Task, Trajectory
from tests.faults.web import Served, call, group, organic, says, tools

GROUPS, SIZE = 8, 6
TASKS = [Task(id=f"t{number}", prompt=f"a flag {number}", target=None, meta={}) for number in range(GROUPS)]
AUTO = CassetteConfig(mode="auto")
TESTING = "gen_searcher.testing"


def plug(target: str, **keywords: object) -> Plug:
    return Plug.model_validate({"_target_": f"{TESTING}.{target}", **keywords})


class Rewards:
    """A reward worker as the image judge."""

    name = "image"

    def __init__(self, actor: RewardActor) -> None:
        self._actor = actor

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        return await self._actor.judge("image", task, trajectory, image)


class Drawn:
    """An image worker as a generator."""

    def __init__(self, actor: GeneratorActor) -> None:
        self._actor = actor

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return await self._actor.generate(grounding, seed)


async def step(path: Path, served: Served) -> tuple[Sequence[Group], dict[str, float]]:
    """New workers, one step, and what they asked and paid."""
    images, cassette = str(path / "images"), str(path / "cassette")
    generator = GeneratorActor(plug("fake_image_model.FakeImageModel"), images, AUTO, cassette)
    scores = {task.id: 0.25 + number / 16 for number, task in enumerate(TASKS)}
    rewards = RewardActor({"image": plug("fake_judge.FakeJudge", scores=scores)}, images, AUTO, cassette)

    async def one(number: int) -> Group:
        said = [call("search", queries=["all", f"task {number}"]), call("search", queries=[f"task {number}", "other"])]
        answer = f'<answer>{{"gen_prompt": "flag {number}", "reference_images": []}}</answer>'
        return await group(
            path, toolbox, said, size=SIZE, task=TASKS[number], answer=answer, generator=Drawn(generator),
            judges=[Rewards(rewards)],
        )  # fmt: skip

    async with tools(path, served, cassette=AUTO) as toolbox:
        groups = await asyncio.gather(*(one(number) for number in range(GROUPS)))
        readings = [toolbox.reading(), await generator.reading(), await rewards.reading()]
    return groups, dict(numbers(merged(readings)))


async def test_a_second_run_of_a_step_asks_as_much_and_pays_nothing(tmp_path: Path) -> None:
    async with Served(says(organic("http://a/"))) as served:
        first, paid = await step(tmp_path, served)
        assert len(served.heads) == 10  # queries: one for all, one for others, eight of the tasks
        again, replayed = await step(tmp_path, served)
        assert len(served.heads) == 10
    assert [each.rewards for each in again] == [each.rewards for each in first]
    assert [len(each.rewards) for each in first] == [SIZE] * GROUPS
    asked = {"tool/asked_calls": 192.0, "generate/asked_calls": 48.0, "judge/asked_calls": 48.0}
    assert {name: count for name, count in paid.items() if name.endswith("asked_calls")} == asked
    assert {name: count for name, count in replayed.items() if name.endswith("asked_calls")} == asked
    assert (paid["tool/paid_calls"], paid["generate/paid_calls"], paid["judge/paid_calls"]) == (10.0, 48.0, 48.0)
    assert not any(count for name, count in replayed.items() if name.endswith("paid_calls") or name == "tool/spent_usd")
    assert headline(paid)["calls"] == "106/288 paid"
    assert headline(replayed)["calls"] == "0/288 paid"
