"""The kit passes our judges and finds what is planted in others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from gen_searcher.config.plug import Plug
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.testing.chat_server import GoldenModel, LocalChatServer
from gen_searcher.testing.judge_kit import CASES, check_judge, report
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory

CHAT = "gen_searcher.rewards.chat"
pytestmark = pytest.mark.timeout(600)


def test_the_kit_has_at_least_fifteen_cases() -> None:
    assert len(CASES) == len(set(CASES)) >= 15


@pytest.mark.parametrize("name", ["image_judge.OfflineImageJudge", "text_judge.OfflineTextJudge"])
async def test_the_offline_judges_conform(name: str, tmp_path: Path) -> None:
    results = await check_judge(Plug(target=f"gen_searcher.rewards.offline.{name}", keywords={}), ImageStore(tmp_path))
    assert all(result.problem is None for result in results), report(results)


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("image_judge.ChatImageJudge", {}),
        ("image_judge.ChatImageJudge", {"first": "truth"}),
        ("text_judge.ChatTextJudge", {}),
        ("text_judge.ChatTextJudge", {"reference_pictures": 2}),
    ],
)
async def test_the_chat_judges_conform_over_the_real_protocol(
    name: str, keywords: dict[str, str | int], tmp_path: Path
) -> None:
    store = ImageStore(tmp_path)
    async with LocalChatServer(GoldenModel(store)) as server:
        chat: dict[str, JsonValue] = {"server": {"base_url": server.base_url, "model": "local"}}
        results = await check_judge(Plug(target=f"{CHAT}.{name}", keywords={**chat, **keywords}), store)
    assert all(result.problem is None for result in results), report(results)
    assert len(server.requests) > 50


class Wrong:
    """The offline text judge with something wrong in it."""

    def __init__(self, *, store: ImageStore) -> None:
        self.judge_inside = OfflineTextJudge(store=store)
        self.asked = 0

    @property
    def name(self) -> str:
        return self.judge_inside.name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        self.asked += 1
        return self.spoil(await self.judge_inside.judge(task, trajectory, image), trajectory)

    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return said


class Constant(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return replace(said, score=0.5)


class Percent(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return replace(said, score=said.score * 100)


class NotANumber(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return replace(said, score=float("nan"))


class Gullible(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        words = "" if trajectory.grounding is None else trajectory.grounding.gen_prompt.lower()
        return replace(said, score=1.0) if "score" in words else said


class Moody(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return replace(said, score=said.score * (0.9 if self.asked % 2 else 1.0))


class Anonymous(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return replace(said, model="", prompt_sha256="none", rationale=" ", latency_s=-1.0)


class Renamed(Wrong):
    def spoil(self, said: Judgement, trajectory: Trajectory) -> Judgement:
        return replace(said, judge="style")


class MixedUp(Wrong):
    """Answers the question that came last."""

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        self.last = (task, trajectory)
        await asyncio.sleep(0)
        return await self.judge_inside.judge(*self.last, image)


@pytest.mark.parametrize(
    ("judge", "found"),
    [
        (Constant, "prefers the right attempt to a wrong entity"),
        (Percent, "scores from 0 to 1"),
        (NotANumber, "scores from 0 to 1"),
        (Gullible, "cannot be talked round"),
        (Moody, "judges the same thing the same way"),
        (Anonymous, "names its model and its prompt"),
        (Anonymous, "counts time and money"),
        (Anonymous, "gives reasons"),
        (Renamed, "gives a judgement under its own name"),
        (MixedUp, "keeps concurrent attempts apart"),
    ],
)
async def test_a_planted_fault_is_found(judge: type[Wrong], found: str, tmp_path: Path) -> None:
    results = await check_judge(Plug(target=f"{__name__}.{judge.__name__}", keywords={}), ImageStore(tmp_path))
    problems = {result.name: result.problem for result in results}
    assert problems[found] is not None, report(results)
    assert f"FAIL  {found}" in report(results)
