from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.config.agent import AgentConfig, FetchConfig, ToolsConfig
from gen_searcher.data.tasks import load_tasks
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.tools.guard import Address
from gen_searcher.tools.http import Fetcher
from gen_searcher.tools.providers.guarded_reader import GuardedReader
from gen_searcher.tools.toolbox import Toolbox
from gen_searcher.types import Task
from gen_searcher.world import World, canvas, knowgen_mini
from gen_searcher.world.families import FAMILIES
from gen_searcher.world.knowgen_mini import (
    CATEGORIES,
    DIFFICULTIES,
    POP,
    SCIENCE,
    SIZE,
    frozen,
    suite_bytes,
    write_suite,
)
from gen_searcher.world.more_families import ALL_FAMILIES, MULTI_HOP, NO_SEARCH
from gen_searcher.world.providers import EmbeddedWeb
from gen_searcher.world.server import EmbeddedServer
from gen_searcher.world.tasks import is_held_out, templates, write_tasks
from gen_searcher.world.teacher import FLAWLESS, Teacher

TOOLS = ToolsConfig(hits_per_search=3, images_per_search=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite")
    write_suite(path)
    return path


@pytest.fixture(scope="module")
def suite(folder: Path) -> list[Task]:
    return load_tasks(folder / "knowgen-mini-1.jsonl", ImageStore(folder / "store"))


def test_the_world_and_the_seed_make_the_frozen_rows_again_bit_for_bit() -> None:
    assert suite_bytes() == frozen()


def test_rows_that_are_not_the_frozen_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowgen_mini, "SHA256", "0" * 64)
    with pytest.raises(DataError, match="knowgen-mini 1 has 0000"):
        frozen()


def test_three_hundred_different_requests_are_spread_evenly_over_seventeen_categories(suite: list[Task]) -> None:
    assert (len(suite), len({task.prompt for task in suite})) == (SIZE, SIZE)
    counts = Counter(task.meta["category"] for task in suite)
    assert set(counts) == set(CATEGORIES)
    assert (len(SCIENCE), set(POP)) == (15, {"film", "posters"})
    assert set(counts.values()) == {17, 18}
    assert {task.meta["category"] for task in suite[: len(CATEGORIES)]} == set(CATEGORIES)


def test_difficulties_are_spread_evenly_and_every_number_of_hops_up_to_four_occurs(suite: list[Task]) -> None:
    counts = Counter(task.meta["difficulty"] for task in suite)
    assert set(counts) == {*DIFFICULTIES, NO_SEARCH}
    assert all(50 <= counts[name] <= 65 for name in DIFFICULTIES)
    assert counts[NO_SEARCH] == 19
    assert set(Counter(task.meta["hops"] for task in suite)) == {"0", "1", "2", "3", "4"}
    assert all(int(task.meta["hops"]) >= 2 for task in suite if task.meta["difficulty"] == MULTI_HOP)


def test_no_picture_dominates_and_look_alikes_are_accepted(suite: list[Task]) -> None:
    shown = Counter(subject.entity for task in suite for subject in task.facts.subjects)
    assert max(shown.values()) <= 8
    accepted = [subject for task in suite for subject in task.facts.subjects if subject.accepted]
    assert len(accepted) >= 10
    assert all(subject.accepted == World.load().look_alikes(subject.entity) for subject in accepted)


def test_each_task_has_only_subjects_or_a_template_that_training_never_has(suite: list[Task]) -> None:
    trained = {template.id for families in ("basic", "all") for template in templates("train", families)}
    for task in suite:
        if task.meta["split"] == "entity":
            assert task.facts.subjects
            assert all(is_held_out(subject.entity) for subject in task.facts.subjects), task.id
        else:
            assert task.meta["template"] not in trained, task.id
    assert sum(task.meta["split"] == "entity" for task in suite) == 194


def test_training_on_all_families_asks_none_of_it(suite: list[Task], tmp_path: Path) -> None:
    write_tasks(tmp_path, train=200, heldout=20, seed=1, families="all")
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["meta"]["family"] for row in rows} > set(FAMILIES)
    assert not {row["prompt"] for row in rows} & {task.prompt for task in suite}
    seen = {subject["entity"] for row in rows for subject in row["facts"]["subjects"]}
    assert not any(is_held_out(entity) for entity in seen)


def test_the_ground_truth_is_what_the_facts_say(suite: list[Task], folder: Path) -> None:
    for task in suite[::30]:
        facts = task.facts
        pictures = [World.load().picture(subject.entity) for subject in facts.subjects]
        drawn = canvas.compose(pictures, layout=facts.layout, style=facts.style, caption=facts.caption)
        with Image.open(folder / "gt" / f"{task.id}.png") as written:
            assert ImageChops.difference(written.convert("RGB"), drawn).getbbox() is None


async def test_the_flawless_teacher_gets_full_marks_within_the_hops_and_never_searches_a_sign(
    suite: list[Task], tmp_path: Path
) -> None:
    server = EmbeddedServer(World.load())
    at = await server.start()
    web, renderer = EmbeddedWeb(), Renderer.over_bytes()
    fetcher = Fetcher(FetchConfig(), allow={host: Address(host=at.host, port=at.port) for host in web.hosts()})
    store = ImageStore(tmp_path / "store")
    reader = GuardedReader(fetcher=fetcher)
    tools = Toolbox(search=web, images=web, reader=reader, fetcher=fetcher, store=store, config=TOOLS)
    judge = OfflineTextJudge(store=store)
    try:
        for task in [*suite[::9], *(one for one in suite if one.meta["hops"] == "4")]:
            teacher = Teacher(task, renderer=renderer, flaws=FLAWLESS, seed=1)
            agent = Agent(
                engine=teacher, tools=tools, renderer=renderer, config=AgentConfig(prompt="brief", tools=TOOLS)
            )
            done = await agent.search(task, seed=1)
            assert (await judge.judge(task, done, None)).score == 1.0, task.prompt
            calls = sum(turn.call is not None for turn in done.turns)
            assert calls == int(task.meta["hops"]) + len(ALL_FAMILIES[task.meta["family"]].pictures), task.prompt
    finally:
        await tools.close()
        await server.stop()
