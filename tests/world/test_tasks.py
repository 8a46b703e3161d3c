from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from PIL import ImageChops

from gen_searcher.data.tasks import load_tasks
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Task
from gen_searcher.world import World, canvas
from gen_searcher.world.bindings import is_told
from gen_searcher.world.families import FAMILIES, GIVEN
from gen_searcher.world.tasks import is_held_out, templates, training_rows, write_tasks

TRAIN, HELDOUT = 340, 68


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks")
    write_tasks(path, train=TRAIN, heldout=HELDOUT, seed=3)
    return path


@pytest.fixture(scope="module")
def train(folder: Path) -> list[Task]:
    return load_tasks(folder / "train.jsonl", ImageStore(folder / "store"))


@pytest.fixture(scope="module")
def heldout(folder: Path) -> list[Task]:
    return load_tasks(folder / "heldout.jsonl", ImageStore(folder / "store"))


def test_there_are_as_many_tasks_as_asked_for_and_no_prompt_twice(train: list[Task], heldout: list[Task]) -> None:
    assert (len(train), len(heldout)) == (TRAIN, HELDOUT)
    assert len({task.prompt for task in train + heldout}) == TRAIN + HELDOUT
    assert {task.meta["family"] for task in train} == set(FAMILIES)


def test_no_training_task_has_a_held_out_subject_or_one_that_looks_like_it(train: list[Task]) -> None:
    seen = {entity for task in train for one in task.facts.subjects for entity in (one.entity, *one.accepted)}
    assert not any(is_held_out(entity) for entity in seen)


def test_a_held_out_task_has_a_new_subject_or_a_new_template(heldout: list[Task]) -> None:
    unseen = {template.id for template in templates("template")}
    for task in heldout:
        has_new_subject = any(is_held_out(one.entity) for one in task.facts.subjects)
        assert (task.meta["split"] == "entity") == has_new_subject
        assert (task.meta["split"] == "template") == (task.meta["template"] in unseen)


def test_the_parts_of_held_out_templates_all_occur_in_training() -> None:
    seen, unseen = templates("train"), templates("template")
    assert {(one.family, one.wording) for one in unseen} <= {(one.family, one.wording) for one in seen}
    assert {(one.layout, one.style) for one in seen} == set(product(canvas.LAYOUTS, canvas.STYLES))
    assert not {one.id for one in unseen} & {one.id for one in seen}


def test_the_ground_truth_is_what_the_facts_say(folder: Path, train: list[Task]) -> None:
    world, store = World.load(), ImageStore(folder / "store")
    for task in train[::25]:
        assert task.target is not None
        drawn = canvas.compose(
            [world.picture(one.entity) for one in task.facts.subjects],
            layout=task.facts.layout,
            style=task.facts.style,
            caption=task.facts.caption,
        )
        assert ImageChops.difference(store.get(task.target), drawn).getbbox() is None
        assert tuple(one.box for one in task.facts.subjects) == canvas.slot_boxes(task.facts.layout)


def test_prompts_hide_captions_and_what_must_be_looked_up(train: list[Task]) -> None:
    for task in train:
        caption, family = task.facts.caption, FAMILIES[task.meta["family"]]
        told = [task.meta[f"{GIVEN}{slot}"] for slot in family.given]
        assert caption is None or not is_told(caption, told)
        if family.lookups:
            hidden = task.facts.subjects[-1].name.partition(" of ")[2]
            assert not is_told(hidden, told), task.prompt


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_tasks(tmp_path / name, train=34, heldout=8, seed=5)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 44
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_rows_carry_what_knowgen_rows_carry(folder: Path) -> None:
    row = json.loads((folder / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert set(row) == {"id", "prompt", "meta", "gt_image", "facts"}
    assert {"category", "difficulty"} <= set(row["meta"])


def test_rows_without_pictures_are_those_of_the_training_file(folder: Path) -> None:
    written = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    rows = training_rows(TRAIN, seed=3)
    assert [(row["prompt"], row["meta"], row["facts"]) for row in rows] == [
        (row["prompt"], row["meta"], row["facts"]) for row in written
    ]
    assert all("gt_image" not in row for row in rows)
