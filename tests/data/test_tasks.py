from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.data.tasks import chosen, chosen_tasks, load_tasks
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Task

GOOD = '{"id": 7, "prompt": "a flag", "meta": {"category": "geography", "difficulty": "easy"}, "gt_image": "a.png"}'


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def write(tmp_path: Path, *lines: str) -> Path:
    Image.new("RGB", (128, 96), "red").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    body = bytearray((tmp_path / "a.png").read_bytes())
    (tmp_path / "cut.png").write_bytes(body[:-40])
    body[body.index(b"IDAT") + 8] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(body)
    (tmp_path / "bomb.png").write_bytes(body[:16] + struct.pack("!II", 50_000, 50_000) + body[24:])
    Image.new("RGB", (5000, 1)).save(tmp_path / "wide.png")
    (tmp_path / "script.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n")
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_knowgen_row_with_a_number_as_id_and_no_facts_is_a_task(tmp_path: Path, store: ImageStore) -> None:
    (task,) = load_tasks(write(tmp_path, GOOD, ""), store)
    assert task.id == "7"
    assert task.meta["difficulty"] == "easy"
    assert task.facts.subjects == ()
    assert task.target is not None
    assert store.get(task.target).getpixel((0, 0)) == (255, 0, 0)


def test_the_legacy_name_of_the_ground_truth_is_read(tmp_path: Path, store: ImageStore) -> None:
    (task,) = load_tasks(write(tmp_path, GOOD.replace("gt_image", "gen_image")), store)
    assert task.target is not None


def test_a_request_without_ground_truth_is_fine_where_none_is_required(tmp_path: Path, store: ImageStore) -> None:
    path = write(tmp_path, '{"id": "a", "prompt": "a flag"}')
    assert load_tasks(path, store, required=False)[0].target is None
    with pytest.raises(DataError, match=r"tasks\.jsonl, line 1: gt_image: is missing"):
        load_tasks(path, store)


@pytest.mark.fault(42)
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "b", "prompt": "x", "gt_', r"line 2: the line: Invalid JSON"),
        ("[" * 100_000, r"line 2: the line: Invalid JSON"),
        ("[1, 2]", r"line 2: the line: Input should be an object"),
        ("\\xff", r"line 2: the line: Invalid JSON"),
        ('{"id": null, "prompt": "x"}', r"line 2: id: Input should be a valid string"),
        ('{"id": "b", "prompt": "x", "meta": {"a": null}}', r"line 2: meta\.a: "),
        ('{"id": "b", "prompt": "x", "gt_image": ""}', r"line 2: gt_image: "),
        ('{"id": "b", "prompt": "x", "gt_image": "."}', r"line 2: gt_image: .* is not a picture"),
        ('{"id": "b", "prompt": "x", "gt_image": "a\\u0000b"}', r"line 2: gt_image: .* is not a picture"),
        ('{"id": "b", "prompt": "x", "gt_image": "cut.png"}', r"line 2: gt_image: .* is not a picture"),
        ('{"id": "b", "prompt": "x", "gt_image": "flipped.png"}', r"line 2: gt_image: .* is not a picture"),
        ('{"id": "b", "prompt": "x", "gt_image": "bomb.png"}', r"line 2: gt_image: .* is not a picture"),
        ('{"id": "b", "prompt": "x", "gt_image": "wide.png"}', r"line 2: gt_image: .*5000x1 px; the store takes"),
        ('{"id": "b", "prompt": "x", "gt_image": "script.eps"}', r"line 2: gt_image: .* is not a picture"),
        ("{not json", r"line 2: the line: Invalid JSON"),
        ('{"id": "b"}', r"line 2: prompt: Field required"),
        ('{"id": "b", "prompt": ""}', r"line 2: prompt: "),
        ('{"id": "b", "prompt": "x", "meta": {"a": []}}', r"line 2: meta\.a: "),
        (GOOD, r"line 2: id: '7' is taken by line 1"),
        ('{"id": "b", "prompt": "x", "gt_image": "no.png"}', r"line 2: gt_image: there is no file .*no\.png"),
        ('{"id": "b", "prompt": "x", "gt_image": "broken.png"}', r"line 2: gt_image: .* is not a picture"),
    ],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path: Path, store: ImageStore, line: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load_tasks(write(tmp_path, GOOD, line), store)


@pytest.mark.fault(42)
def test_a_missing_or_empty_file_is_said_so(tmp_path: Path, store: ImageStore) -> None:
    with pytest.raises(DataError, match="there is no task file"):
        load_tasks(tmp_path / "none.jsonl", store)
    with pytest.raises(DataError, match="holds no task"):
        load_tasks(write(tmp_path, ""), store)


def test_a_part_of_the_tasks_is_chosen_by_their_ids_and_keeps_its_order() -> None:
    tasks = [Task(id=str(number), prompt="p", target=None, meta={}) for number in range(8)]
    assert [task.id for task in chosen_tasks(tasks, 3)] == ["0", "3", "4"], "the lowest SHA-256 begin with 4b, 4e, 5f"
    assert [task.id for task in chosen_tasks(tasks[::-1], 3)] == ["4", "3", "0"], "whichever way the file is sorted"
    for count in (None, 8, 9):
        assert chosen_tasks(tasks, count) == tuple(tasks)


def test_what_was_chosen_among_more_is_chosen_among_fewer_and_more_add_to_it() -> None:
    every = [f"task-{number}" for number in range(50)]
    few, more = chosen(every, 10), chosen(every, 20)
    assert (len(few), len(more)) == (10, 20)
    assert few < more
    for lacking in (0, 7, 49):
        rest = [each for each in every if each != f"task-{lacking}"]
        assert few - {f"task-{lacking}"} <= chosen(rest, 10)
