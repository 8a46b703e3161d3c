"""KnowGen's files: published rows, three kinds of results, and everything that can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.bench.journal import Journal
from gen_searcher.bench.knowgen import KnowgenFiles, read_groundings
from gen_searcher.bench.pictures import NoPicture, PictureFiles
from gen_searcher.bench.rowfile import Problem
from gen_searcher.image_store import ImageStore
from tests.bench.rows import POP, SCIENCE, parts, row

Row = dict[str, object]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.fixture
def pictures(tmp_path: Path, store: ImageStore) -> Iterator[PictureFiles]:
    journal = Journal(tmp_path / "files.jsonl")
    yield PictureFiles(store, journal)
    journal.close()


@pytest.fixture
def files(pictures: PictureFiles, store: ImageStore) -> KnowgenFiles:
    return KnowgenFiles(pictures, store)


def published(tmp_path: Path, number: int, category: str = "Biology", **more: object) -> Row:
    Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"gt-{number}.png")
    meta = {"category": category, "difficulty": "easy"}
    return {"id": number, "prompt": f"Draw {number}.", "meta": meta, "gt_image": f"gt-{number}.png", **more}


def write(tmp_path: Path, rows: Sequence[object], name: str = "rows.json") -> Path:
    """One row a line, so that row k stands in line k + 1."""
    path = tmp_path / name
    path.write_text("[" + ",\n".join(json.dumps(row) for row in rows) + "]")
    return path


def told(problems: Sequence[Problem]) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.row, problem.what) for problem in problems]


def test_published_rows_become_tasks_with_their_ground_truth(
    tmp_path: Path, files: KnowgenFiles, store: ImageStore
) -> None:
    old = published(tmp_path, 2, "multi-subject-anime")
    old["gen_image"] = old.pop("gt_image")
    found = files.tasks([write(tmp_path, [published(tmp_path, 1), old])])
    assert [(task.id, task.prompt) for task in found.tasks] == [("1", "Draw 1."), ("2", "Draw 2.")]
    assert [files.scheme.stratum(task.id, task.meta) for task in found.tasks] == [SCIENCE, POP]
    for number, task in enumerate(found.tasks, start=1):
        assert task.target is not None
        assert store.get(task.target).getpixel((0, 0)) == (number, 0, 0)
    assert found.problems == ()


def test_every_kind_of_bad_row_is_named_with_its_line_and_the_rest_goes_on(tmp_path: Path, files: KnowgenFiles) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    rows: list[object] = [
        published(tmp_path, 0),
        published(tmp_path, 1, "alchemy"),
        {**published(tmp_path, 2), "meta": {"difficulty": "easy"}},
        {**published(tmp_path, 3), "id": 0},
        {**published(tmp_path, 4), "id": "../../etc/cron.d/x"},
        {**published(tmp_path, 5), "gt_image": "gone.png"},
        {**published(tmp_path, 6), "gt_image": None},
        {**published(tmp_path, 7), "gt_image": "text.png"},
        {**published(tmp_path, 8), "gt_image": "folder.png"},
        {**published(tmp_path, 9), "gt_image": "a\0b.png"},
        {"id": 10, "meta": {}},
        17,
        published(tmp_path, 11),
    ]
    path = write(tmp_path, rows)
    found = files.tasks([path])
    assert [task.id for task in found.tasks] == ["0", "11"]
    named = {line: f"{row}: {what}" for line, row, what in told(found.problems)}
    assert sorted(named) == list(range(2, 13)), "one problem for each of the eleven, in its own line"
    assert named[2] == "1: meta.category: alchemy, which is none of KnowGen's"
    assert named[3] == "2: meta.category: is missing, which is none of KnowGen's"
    assert named[4] == f"0: id: taken by {path}, line 1; this row is not read"
    assert "is no id" in named[5]
    assert named[6] == f"5: gt_image: there is no file {tmp_path}/gone.png"
    assert "is missing" in named[7]
    assert "it is no PNG, JPEG or WebP" in named[8]
    assert "there is no file" in named[9]
    assert named[10].startswith("9: gt_image: ")
    assert named[11] == "10: prompt: Field required"
    assert named[12] == ": 17 is not a JSON object"


def test_an_id_may_not_come_twice_in_two_files(tmp_path: Path, files: KnowgenFiles) -> None:
    first = write(tmp_path, [published(tmp_path, 1)], "a.json")
    second = write(tmp_path, [published(tmp_path, 1), published(tmp_path, 2)], "b.json")
    found = files.tasks([first, second])
    assert [task.id for task in found.tasks] == ["1", "2"]
    assert [str(problem) for problem in found.problems] == [
        f"{second}, line 1: row 1: id: taken by {first}, line 1; this row is not read"
    ]


def test_drawn_rows_are_pictures_or_failures_and_none_is_forgotten(
    tmp_path: Path, files: KnowgenFiles, store: ImageStore
) -> None:
    tasks = files.tasks([write(tmp_path, [published(tmp_path, number) for number in range(5)])]).tasks
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "out.png")
    rows: list[object] = [
        published(tmp_path, 0, success=True, output_path=str(tmp_path / "out.png")),
        published(tmp_path, 1, success=False, output_path="out.png", error="declined\nby the model"),
        published(tmp_path, 2, success=True, output_path="gone.png"),
        published(tmp_path, 3, success=True),
        published(tmp_path, 99, success=True, output_path="out.png"),
    ]
    path = write(tmp_path, rows, "results.json")
    found = files.drawn(path, tasks)
    assert store.get(found.pictures["0"]).getpixel((0, 0)) == (255, 255, 255), "transparency is white"
    assert {task_id: (one.stage, one.what) for task_id, one in found.failures.items()} == {
        "1": ("generate", f"{path}, line 2: success is not true: declined?by the model"),
        "2": ("picture", f"{path}, line 3: output_path: there is no file {tmp_path}/gone.png"),
        "3": ("picture", f"{path}, line 4: output_path: is missing"),
        "4": ("picture", f"{path} has no usable row of this id"),
    }
    assert told(found.problems) == [(5, "99", "id: not among the benchmark's rows that can be scored")]


def test_another_agents_results_become_groundings(tmp_path: Path, pictures: PictureFiles) -> None:
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "ref.jpg")
    good = {"img_id": "IMG_001", "note": "face", "local_path": "ref.jpg", "url": "http://x", "title": None}
    bad = {"img_id": "IMG_002", "note": "", "local_path": "../gone.jpg", "url": None, "title": ""}
    rows = [
        published(tmp_path, 0, gen_prompt=" as in the first reference ", reference_images=[good, bad, good]),
        published(tmp_path, 1, gen_prompt="", reference_images=[good]),
        published(tmp_path, 2, termination="error"),
    ]
    found = read_groundings(write(tmp_path, rows), pictures, most=2)
    grounding = found.groundings["0"]
    assert grounding is not None
    assert grounding.gen_prompt == "as in the first reference"
    assert [(ref.img_id, ref.note, ref.url) for ref in grounding.references] == [("IMG_001", "face", "http://x")]
    assert found.groundings["1"] is None
    assert found.groundings["2"] is None
    assert [(line, row) for line, row, _ in told(found.problems)] == [(1, "0")]


def test_what_is_exported_is_read_back_the_same(tmp_path: Path, files: KnowgenFiles) -> None:
    rows = [row(1, SCIENCE, parts(1, 0.5, None, 0)), row(2, POP, parts(0, 0, 0.5, 1)), row(3, POP, None)]
    path = files.export(rows, tmp_path, arm="mine")
    assert path.name == "results_eval-mine.json"
    scores = json.loads(path.read_text())[0]["scores"]
    assert (scores["text_accuracy"], scores["text_accuracy_na"]) == (0.5, True)
    assert scores["overall"] == pytest.approx(0.1 + 0.2 + 0.2)
    found = files.scored(path, ())
    assert [(one.id, one.stratum, one.parts) for one in found.rows] == [
        (one.id, one.stratum, one.parts) for one in rows
    ]
    assert found.problems == ()


def test_judged_results_of_the_reference_are_read_with_their_summaries_left_aside(
    tmp_path: Path, files: KnowgenFiles
) -> None:
    tasks = files.tasks([write(tmp_path, [published(tmp_path, number) for number in range(6)])]).tasks
    scores = {**parts(1, 1, 1, 1), "overall": 1.0, "rationale": "r"}
    rows: list[object] = [
        published(tmp_path, 0, eval_success=True, scores=scores),
        published(tmp_path, 1, eval_success=True, scores={**scores, "text_accuracy_na": True}),
        published(tmp_path, 2, eval_success=False, scores=None, error="empty_content"),
        published(tmp_path, 3, eval_success=True, scores={**scores, "aesthetics": 7}),
        published(tmp_path, 4, eval_success=True, scores={"faithfulness": 1}),
        {"summary_type": "overall_avg", "avg_scores": {}, "count": 2},
    ]
    found = files.scored(write(tmp_path, rows, "results_eval.json"), tasks)
    by_id = {one.id: one for one in found.rows}
    assert by_id["0"].parts == parts(1, 1, 1, 1)
    assert by_id["1"].parts == parts(1, 1, None, 1)
    failures = {row_id: (one.failure.stage, one.failure.what) for row_id, one in by_id.items() if one.failure}
    assert failures["2"] == ("judge", "empty_content")
    assert set(failures) == {"2", "3", "4", "5"}, "what has no usable verdict is a failed row"
    assert "no usable row" in failures["5"][1]
    assert [(line, row) for line, row, _ in told(found.problems)] == [(4, "3"), (5, "4")]


def test_rows_of_no_task_are_problems_and_those_of_tasks_not_chosen_are_counted(
    tmp_path: Path, files: KnowgenFiles
) -> None:
    scores = {**parts(1, 1, 1, 1), "rationale": "r"}
    done = {"eval_success": True, "scores": scores, "success": True}
    rows = [published(tmp_path, n, **done, output_path=f"gt-{n}.png") for n in range(4)]
    path = write(tmp_path, rows)
    tasks = files.tasks([path]).tasks
    drawn = files.drawn(path, tasks[:2], others={"2"})
    scored = files.scored(path, tasks[:2], others={"2"})
    assert list(drawn.pictures) == [one.id for one in scored.rows] == ["0", "1"]
    assert drawn.aside == scored.aside == 1
    said = [(4, "3", "id: not among the benchmark's rows that can be scored")]
    assert told(drawn.problems) == told(scored.problems) == said
    assert len(files.scored(path, ()).rows) == 4, "without a list of tasks the file is the list"
    listed = files.scored(path, (), others={"2"})
    assert ([one.id for one in listed.rows], listed.aside, listed.problems) == (["0", "1", "3"], 1, ())


def test_a_picture_file_is_decoded_once_until_it_changes(tmp_path: Path, store: ImageStore) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    journal = Journal(tmp_path / "files.jsonl")
    first = PictureFiles(store, journal).put("a.png", folder=tmp_path)
    journal.close()
    journal = Journal(tmp_path / "files.jsonl")
    again = PictureFiles(store, journal)
    assert again.put("a.png", folder=tmp_path) == first
    assert len(journal) == 1
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    assert again.put("a.png", folder=tmp_path).width_px == 9
    store.path(first).unlink()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "b.png")
    assert again.put("b.png", folder=tmp_path) == first
    assert store.path(first).is_file()
    journal.close()


def test_a_picture_that_would_blow_up_is_refused(tmp_path: Path, pictures: PictureFiles) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "bomb.png")
    with pytest.raises(NoPicture, match="9000x9000 px are too many"):
        pictures.put("bomb.png", folder=tmp_path)
