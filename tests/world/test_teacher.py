from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.agent.look import Looker
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.agent.revision import is_keep
from gen_searcher.config.agent import AgentConfig, FetchConfig, ToolsConfig
from gen_searcher.data.tasks import load_tasks
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Tools
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.train.looking import LookingSearcher, LookRules
from gen_searcher.types import Grounding, ImageRef, Outcome, Task, Trajectory
from gen_searcher.world import World
from gen_searcher.world.providers import EmbeddedWeb
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.tasks import write_tasks
from gen_searcher.world.teacher import FLAWLESS, Teacher, TeacherFlaws, plan_for

TOOLS = ToolsConfig(hits_per_search=3, images_per_search=4)
RENDERER = Renderer.over_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Tasks and the tools to solve them with."""

    tasks: Sequence[Task]
    tools: Tools
    store: ImageStore


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    write_tasks(tmp_path, train=51, heldout=34, seed=11)
    store = ImageStore(tmp_path / "store")
    tasks = [task for name in ("train", "heldout") for task in load_tasks(tmp_path / f"{name}.jsonl", store)]
    server = EmbeddedServer(World.load())
    at = await server.start()
    web = EmbeddedWeb()
    allow = {host: Address(host=at.host, port=at.port) for host in web.hosts()}
    fetcher = Fetcher(FetchConfig(), allow=allow)
    toolbox = Toolbox(
        search=web, images=web, reader=GuardedReader(fetcher=fetcher), fetcher=fetcher, store=store, config=TOOLS
    )
    yield Desk(tasks=tasks, tools=toolbox, store=store)
    await toolbox.close()
    await server.stop()


async def work(task: Task, tools: Tools, flaws: TeacherFlaws) -> Trajectory:
    agent = Agent(
        engine=Teacher(task, renderer=RENDERER, flaws=flaws, seed=1),
        tools=tools,
        renderer=RENDERER,
        config=AgentConfig(prompt="brief", tools=TOOLS),
    )
    return await agent.search(task, seed=1)


def names(trajectory: Trajectory) -> list[str]:
    assert trajectory.grounding is not None
    return [reference.title for reference in trajectory.grounding.references]


async def test_a_flawless_teacher_solves_tasks_of_every_family_over_http_in_four_calls(desk: Desk) -> None:
    for task in desk.tasks:
        done = await work(task, desk.tools, FLAWLESS)
        assert done.outcome is Outcome.GROUNDED, task.prompt
        assert done.grounding is not None
        assert names(done) == [subject.name for subject in task.facts.subjects], task.prompt
        assert (task.facts.caption is None) == ("caption" not in done.grounding.gen_prompt)
        if task.facts.caption is not None:
            assert done.grounding.gen_prompt.endswith(f"caption: {task.facts.caption}")
        assert 2 <= len(done.turns) <= 5
        assert sum(len(turn.prompt_ids) + len(turn.completion_ids) for turn in done.turns) < 3600  # bytes


async def test_each_flaw_shows_as_documented(desk: Desk) -> None:
    captioned = next(task for task in desk.tasks if task.meta["caption_of"])
    forgot = await work(captioned, desk.tools, TeacherFlaws(oversearch=0.0, first_picture=0.0, forgets_caption=1.0))
    assert forgot.grounding is not None
    assert "caption" not in forgot.grounding.gen_prompt

    plain = await work(captioned, desk.tools, FLAWLESS)
    wordy = await work(captioned, desk.tools, TeacherFlaws(oversearch=1.0, first_picture=0.0, forgets_caption=0.0))
    assert len(wordy.turns) == len(plain.turns) + 1

    hasty = TeacherFlaws(oversearch=0.0, first_picture=1.0, forgets_caption=0.0)
    wrong = [
        names(await work(task, desk.tools, hasty)) != names(await work(task, desk.tools, FLAWLESS))
        for task in desk.tasks[:40]
    ]
    assert 0.25 <= sum(wrong) / len(wrong) <= 0.85


class Pictures:
    """A `Generator` that draws one colour."""

    def __init__(self, store: ImageStore) -> None:
        self.picture = store.put(Image.new("RGB", (96, 64), "navy"))

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return self.picture


async def looking(task: Task, desk: Desk, flaws: TeacherFlaws) -> Trajectory:
    config = AgentConfig(prompt="brief", tools=TOOLS, looks=1)
    teacher = Teacher(task, renderer=RENDERER, flaws=flaws, seed=1)
    agent = Agent(engine=teacher, tools=desk.tools, renderer=RENDERER, config=config)
    looker = Looker(agent, desk.store, view_side_px=64)
    rules = LookRules(agent=config, max_images=32)
    return await LookingSearcher(agent, looker, Pictures(desk.store), rules=rules).search(task, seed=1)


def said(trajectory: Trajectory) -> str:
    return RENDERER.completion_text(trajectory.turns[-1].completion_ids)


async def test_shown_its_picture_a_teacher_keeps_what_is_right(desk: Desk) -> None:
    for task in desk.tasks[:8]:
        plain, looked = await work(task, desk.tools, FLAWLESS), await looking(task, desk, FLAWLESS)
        assert is_keep(said(looked))
        assert looked.grounding == plain.grounding
        assert len(looked.turns) == len(plain.turns) + 1


async def test_shown_its_picture_a_teacher_asks_for_the_caption_that_it_forgot(desk: Desk) -> None:
    forgets = TeacherFlaws(oversearch=0.0, first_picture=0.0, forgets_caption=1.0)
    captioned = [task for task in desk.tasks if task.facts.caption is not None]
    assert captioned
    for task in captioned[:8]:
        looked = await looking(task, desk, forgets)
        before = RENDERER.completion_text(looked.turns[-2].completion_ids)
        assert "caption" not in before.partition("<answer>")[2]
        assert looked.grounding is not None
        assert looked.grounding.gen_prompt.endswith(f"caption: {task.facts.caption}")
    plain = next(task for task in desk.tasks if task.facts.caption is None)
    assert is_keep(said(await looking(plain, desk, forgets)))


async def test_shown_its_picture_a_teacher_takes_the_right_reference_for_the_first_one(desk: Desk) -> None:
    hasty = TeacherFlaws(oversearch=0.0, first_picture=1.0, forgets_caption=0.0)
    mended = 0
    for task in desk.tasks[:12]:
        hurried, looked = await work(task, desk.tools, hasty), await looking(task, desk, hasty)
        right = names(await work(task, desk.tools, FLAWLESS))
        assert names(looked) == right
        assert is_keep(said(looked)) == (names(hurried) == right)
        mended += names(hurried) != right
    assert 0 < mended < 12


async def test_the_same_seed_makes_the_same_trajectory(desk: Desk) -> None:
    once, again = [await work(desk.tasks[4], desk.tools, TeacherFlaws()) for _ in range(2)]
    assert [turn.completion_ids for turn in once.turns] == [turn.completion_ids for turn in again.turns]


def test_a_task_from_elsewhere_has_no_plan() -> None:
    with pytest.raises(DataError, match=r"meta\.family"):
        plan_for(Task(id="x", prompt="a cat", target=None, meta={}))
