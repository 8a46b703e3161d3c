"""Planted failures are found: one broken link per trajectory, made and attributed with the real tools and judge."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gen_searcher.bench.embedded_oracle import EmbeddedOracle
from gen_searcher.bench.links import Link
from gen_searcher.bench.oracle import PromptFault
from gen_searcher.data.tasks import load_tasks
from gen_searcher.engines.compositor import Compositor
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.types import Outcome, Task, Trajectory
from gen_searcher.world.more_families import ALL_FAMILIES
from gen_searcher.world.tasks import write_tasks
from tests.bench.attribution import BREAKS, analysed, plant, planted_in

pytestmark = pytest.mark.timeout(300)  # many trajectories in one test


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks and a store."""
    folder = tmp_path_factory.mktemp("planted")
    write_tasks(folder, train=48, heldout=2, seed=1)
    return folder


@pytest.fixture(scope="module")
def tasks(folder: Path) -> list[Task]:
    return load_tasks(folder / "train.jsonl", ImageStore(folder / "images"))


async def test_each_way_to_break_a_link_is_found_and_nothing_is_found_where_nothing_is_broken(
    tasks: list[Task], folder: Path
) -> None:
    store = ImageStore(folder / "images")
    counts = {link: len(ways) for link, ways in BREAKS.items()}
    planted = list(plant(tasks, EmbeddedOracle(store=store), counts=counts, controls=1))
    found = await analysed(planted, model=Compositor(), store=store)
    wrong = [
        f"{one.planted.breakage.name}: {one.attribution.link or one.attribution.standing}: {one.attribution.why}"
        for one in found
        if not one.agrees
    ]
    assert wrong == []
    assert [sum(one.planted.link is link for one in found) for link in Link] == [2, 2, 1, 4, 1, 1]
    assert all(one.attribution.why for one in found if not one.is_control)


@pytest.mark.slow
async def test_the_real_painter_changes_little_of_it(tmp_path: Path) -> None:
    from gen_searcher.engines.painter import EmbeddedPainter  # here: it loads torch

    planted = list(planted_in(tmp_path, per_link=6, controls=4, seed=5))
    found = await analysed(planted, model=EmbeddedPainter(), store=ImageStore(tmp_path / "images"))
    assert sum(one.agrees for one in found) / len(found) >= 0.9


async def test_the_oracles_grounding_is_right_in_every_part(tasks: list[Task], tmp_path: Path) -> None:
    await check_evidence(tasks, ImageStore(tmp_path))


@pytest.mark.slow
async def test_the_oracle_knows_every_family(tmp_path: Path) -> None:
    write_tasks(tmp_path, train=80, heldout=160, seed=1, families="all")
    files = [tmp_path / "train.jsonl", tmp_path / "heldout.jsonl"]
    tasks = [task for file in files for task in load_tasks(file, ImageStore(tmp_path))]
    assert {task.meta["family"] for task in tasks} == set(ALL_FAMILIES)
    await check_evidence(tasks, ImageStore(tmp_path))


async def check_evidence(tasks: list[Task], store: ImageStore) -> None:
    oracle, judge = EmbeddedOracle(store=store), OfflineTextJudge(store=store)
    for task in tasks:
        evidence = oracle.evidence(task)
        assert evidence is not None, task.meta
        right = Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=evidence.grounding)
        assert (await judge.judge(task, right, None)).score == 1.0, task.meta
        assert oracle.prompt_faults(task, evidence.grounding.gen_prompt) == ()
        for place, fact in enumerate(evidence.facts):
            assert all(before < place for before in fact.after)
            assert all(words.casefold() in fact.statement.casefold() for words in (fact.about, fact.value))
            assert not re.search(rf"\b{re.escape(fact.value)}\b", task.prompt, re.IGNORECASE), "it is to be found out"
        for picture, reference in zip(evidence.pictures, evidence.grounding.references, strict=True):
            assert reference.image.sha256 in picture.sha256s
            assert store.path(reference.image).is_file()


def test_faults_of_a_prompt_are_named(tasks: list[Task], tmp_path: Path) -> None:
    oracle = EmbeddedOracle(store=ImageStore(tmp_path))
    task = next(
        one for one in tasks if one.facts.caption and one.facts.layout == "alone" and one.facts.style == "night"
    )
    bare = next(one for one in tasks if one.facts.caption is None and one.facts.layout == "alone")
    assert oracle.prompt_faults(task, "the first reference image alone") == (PromptFault.NO_CAPTION, PromptFault.STYLE)
    other = "the first reference image beside the second, at night. caption: ZZ"
    assert oracle.prompt_faults(task, other) == (PromptFault.OTHER_CAPTION, PromptFault.LAYOUT)
    assert PromptFault.UNASKED_CAPTION in oracle.prompt_faults(bare, "the first reference image alone. caption: ZZ")


def test_a_task_of_another_world_has_no_evidence(tmp_path: Path) -> None:
    oracle = EmbeddedOracle(store=ImageStore(tmp_path))
    assert oracle.evidence(Task(id="x", prompt="a cat", target=None, meta={})) is None
    strange = Task(id="x", prompt="a cat", target=None, meta={"family": "flag", "given.country": "Atlantis"})
    assert oracle.evidence(strange) is None
