"""WISE's files and arithmetic, and that its two conventions never meet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.bench.figures import Way, figures, standing
from gen_searcher.bench.journal import Journal
from gen_searcher.bench.pictures import PictureFiles
from gen_searcher.bench.scheme import WISE_LEGACY, WISE_VERIFIED, Scheme
from gen_searcher.bench.scored import Scored
from gen_searcher.bench.wise import LEGACY, VERIFIED, Convention, WiseFiles
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore

PUBLISHED = {
    "FLUX.1-dev": [0.48, 0.58, 0.62, 0.42, 0.51, 0.35, 0.50],
    "Qwen-Image": [0.62, 0.63, 0.77, 0.57, 0.75, 0.40, 0.62],
    "LongCat-Image": [0.66, 0.61, 0.72, 0.66, 0.72, 0.49, 0.65],
    "GS-8B + Qwen-Image": [0.80, 0.71, 0.82, 0.76, 0.74, 0.75, 0.77],
}
"""Legacy WiScore of culture, time, space, biology, physics, chemistry and overall, as the paper prints them."""
FIRST_LEGACY, FIRST_VERIFIED = (1, 401, 568, 701, 801, 901), (1, 401, 521, 641, 761, 881)


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[PictureFiles]:
    journal = Journal(tmp_path / "files.jsonl")
    yield PictureFiles(ImageStore(tmp_path / "store"), journal)
    journal.close()


def published(number: int, category: str, **more: object) -> dict[str, object]:
    row = {"Prompt": f"p{number}", "Explanation": f"e{number}", "Category": category, "Subcategory": "Festival"}
    return {**row, "prompt_id": number, **more}


def write(tmp_path: Path, rows: Sequence[object], name: str = "rows.json") -> Path:
    path = tmp_path / name
    path.write_text("[" + ",\n".join(json.dumps(row) for row in rows) + "]")
    return path


def scored(scheme: Scheme, number: int, **parts: float) -> Scored:
    stratum = scheme.stratum(str(number), {})
    assert stratum is not None
    return Scored(id=str(number), prompt="", meta={"subcategory": "Festival"}, stratum=stratum, parts=parts)


def value(rows: Sequence[Scored], scheme: Scheme) -> float:
    found = figures(rows, scheme=scheme, way=Way.EXCLUDED, seed=0).overall
    assert found is not None
    return found.value


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_published_legacy_row_follows_from_its_categories(model: str) -> None:
    *categories, overall = PUBLISHED[model]
    rows = [
        scored(WISE_LEGACY, first, consistency=score, realism=score, aesthetic_quality=score)
        for first, score in zip(FIRST_LEGACY, categories, strict=True)
    ]
    assert value(rows, WISE_LEGACY) == pytest.approx(overall, abs=0.0101), "both are rounded to two digits"


def test_wiscore_weighs_seven_two_one_and_verified_is_one_binary_score() -> None:
    legacy = [scored(WISE_LEGACY, n, consistency=1.0, realism=0.5, aesthetic_quality=0.0) for n in FIRST_LEGACY]
    assert value(legacy, WISE_LEGACY) == pytest.approx((0.7 * 2 + 0.2 * 1 + 0.1 * 0) / 2)
    verified = [scored(WISE_VERIFIED, n, score=float(n == 1)) for n in FIRST_VERIFIED]
    assert value(verified, WISE_VERIFIED) == pytest.approx(0.40)


@pytest.mark.parametrize(
    ("scheme", "sizes"),
    [
        (WISE_LEGACY, {"culture": 400, "time": 167, "space": 133, "biology": 100, "physics": 100, "chemistry": 100}),
        (WISE_VERIFIED, dict.fromkeys(("time", "space", "biology", "physics", "chemistry"), 120) | {"culture": 400}),
    ],
)
def test_the_ranges_of_ids_have_the_published_sizes_and_shares(scheme: Scheme, sizes: dict[str, int]) -> None:
    strata = [scheme.stratum(str(number), {}) for number in range(1, 1001)]
    assert {name: strata.count(name) for name in sizes} == sizes
    assert {name: pytest.approx(share) for name, share in scheme.strata.items()} == {
        name: size / 1000 for name, size in sizes.items()
    }
    assert scheme.stratum("0", {}) is None
    assert scheme.stratum("1001", {}) is None
    assert scheme.stratum("x", {}) is None


def test_rows_carry_the_explanation_to_the_judge_and_not_to_the_policy(tmp_path: Path, pictures: PictureFiles) -> None:
    files = WiseFiles(pictures, LEGACY)
    found = files.tasks([write(tmp_path, [published(1, "Cultural knowledge"), published(850, "Physical Knowledge")])])
    assert [(task.id, task.prompt, task.facts.explanation) for task in found.tasks] == [
        ("1", "p1", "e1"),
        ("850", "p850", "e850"),
    ]
    assert found.tasks[0].target is None
    assert found.problems == ()


def test_bad_rows_are_named_and_a_row_of_the_other_convention_is_recognised(
    tmp_path: Path, pictures: PictureFiles
) -> None:
    rows: list[object] = [
        published(1, "Cultural knowledge"),
        published(1, "Cultural knowledge"),
        published(1001, "Chemistry"),
        published(530, "Space"),
        published(3, "Alchemy"),
        published(4, "Cultural knowledge", Explanation=""),
        {**published(5, "Cultural knowledge"), "prompt_id": "../5"},
    ]
    path = write(tmp_path, rows)
    found = WiseFiles(pictures, LEGACY).tasks([path])
    assert [task.id for task in found.tasks] == ["1"]
    named = {problem.line: problem.what for problem in found.problems}
    assert named == {
        2: f"prompt_id: taken by {path}, line 1; this row is not read",
        3: "prompt_id: WISE has 1 to 1000",
        4: "Category: Space, but in wise-legacy this id is time: is it a file of the other convention?",
        5: "Category: Alchemy is none of WISE's",
        6: "Explanation: String should have at least 1 character",
        7: "prompt_id: Input should be a valid integer",
    }
    assert [task.id for task in WiseFiles(pictures, VERIFIED).tasks([write(tmp_path, rows[3:4], "b.json")]).tasks] == [
        "530"
    ]


def test_a_whole_file_of_the_other_convention_is_refused(tmp_path: Path, pictures: PictureFiles) -> None:
    path = write(tmp_path, [published(number, "Space") for number in range(521, 541)])
    with pytest.raises(DataError, match=r"20 rows .* of wise-verified.*benchmark=wise_verified"):
        WiseFiles(pictures, LEGACY).tasks([path])
    assert len(WiseFiles(pictures, VERIFIED).tasks([path]).tasks) == 20


def test_pictures_are_found_by_their_row_and_strays_are_named(tmp_path: Path, pictures: PictureFiles) -> None:
    files = WiseFiles(pictures, VERIFIED)
    rows = [published(number, "Cultural knowledge") for number in (1, 2, 3)]
    tasks = files.tasks([write(tmp_path, rows)]).tasks
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    Image.new("RGB", (8, 8)).save(folder / "77.png")
    (folder / "3.png").write_bytes(b"")
    found = files.drawn(folder, tasks)
    assert list(found.pictures) == ["1"]
    assert {name: one.stage for name, one in found.failures.items()} == {"2": "picture", "3": "picture"}
    assert [str(problem) for problem in found.problems] == [
        f"{folder}, line 0: 77.png belongs to no row that is scored"
    ]
    with pytest.raises(DataError, match="is no folder"):
        files.drawn(tmp_path / "rows.json", tasks)


@pytest.mark.parametrize(
    ("convention", "parts", "line"),
    [
        (
            LEGACY,
            {"consistency": 1.0, "realism": 0.5, "aesthetic_quality": 0.0},
            {"prompt_id": 401, "Subcategory": "Festival", "consistency": 2.0, "realism": 1.0, "aesthetic_quality": 0.0},
        ),
        (VERIFIED, {"score": 1.0}, {"prompt_id": 401, "Subcategory": "Festival", "score": 1.0}),
    ],
)
def test_score_lines_have_the_published_form_and_are_read_back(
    tmp_path: Path, pictures: PictureFiles, convention: Convention, parts: dict[str, float], line: dict[str, object]
) -> None:
    files = WiseFiles(pictures, convention)
    path = files.export([scored(convention.scheme, 401, **parts)], tmp_path, arm="mine")
    assert json.loads(path.read_text()) == line
    found = files.scored(path, ())
    assert [(one.id, one.stratum, one.parts) for one in found.rows] == [("401", "time", parts)]


def test_scores_of_one_convention_are_refused_in_a_table_of_the_other(tmp_path: Path, pictures: PictureFiles) -> None:
    legacy = {"prompt_id": 1, "consistency": 2, "realism": 1, "aesthetic_quality": 1}
    verified = {"prompt_id": 1, "score": 1}
    with pytest.raises(DataError, match=r"line 1: a score of wise-legacy .* never mixed.*benchmark=wise_legacy"):
        WiseFiles(pictures, VERIFIED).scored(write(tmp_path, [legacy]), ())
    with pytest.raises(DataError, match=r"benchmark=wise_verified"):
        WiseFiles(pictures, LEGACY).scored(write(tmp_path, [verified]), ())


def test_scores_of_no_task_are_problems_and_those_of_tasks_not_chosen_are_counted(
    tmp_path: Path, pictures: PictureFiles
) -> None:
    files = WiseFiles(pictures, VERIFIED)
    tasks = files.tasks([write(tmp_path, [published(n, "Cultural knowledge") for n in (1, 2, 3)])]).tasks
    path = write(tmp_path, [{"prompt_id": n, "score": 1} for n in (1, 2, 3, 4)], "scores.json")
    found = files.scored(path, tasks[:2], others={"3"})
    assert [one.id for one in found.rows] == ["1", "2"]
    assert found.aside == 1
    assert [str(problem) for problem in found.problems] == [
        f"{path}, line 4: row 4: prompt_id: not among the benchmark's rows that can be scored"
    ]
    assert len(files.scored(path, ()).rows) == 4, "without a list of tasks the file is the list"
    listed = files.scored(path, (), others={"3"})
    assert ([one.id for one in listed.rows], listed.aside, listed.problems) == (["1", "2", "4"], 1, ())
    legacy = write(tmp_path, [{"prompt_id": 9, "consistency": 2, "realism": 1, "aesthetic_quality": 1}], "legacy.json")
    with pytest.raises(DataError, match="never mixed"):
        files.scored(legacy, tasks)


def test_pictures_of_tasks_not_chosen_are_no_strays(tmp_path: Path, pictures: PictureFiles) -> None:
    files = WiseFiles(pictures, VERIFIED)
    tasks = files.tasks([write(tmp_path, [published(n, "Cultural knowledge") for n in (1, 2, 3)])]).tasks
    for number in (1, 2, 7):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    found = files.drawn(tmp_path, tasks[:1], others={"2", "3"})
    assert (list(found.pictures), found.aside, len(found.problems)) == (["1"], 1, 1)
    assert "7.png belongs to no row" in found.problems[0].what


def test_scores_off_the_scale_are_problems_and_missing_ones_failures(tmp_path: Path, pictures: PictureFiles) -> None:
    files = WiseFiles(pictures, VERIFIED)
    tasks = files.tasks([write(tmp_path, [published(n, "Cultural knowledge") for n in (1, 2, 3)])]).tasks
    rows = [{"prompt_id": 1, "score": 0.5}, {"prompt_id": 2, "score": 1}, {"prompt_id": 3}]
    found = files.scored(write(tmp_path, rows, "scores.json"), tasks)
    assert [(problem.line, problem.what) for problem in found.problems] == [
        (1, "score: 0.5 is none of 0, 1"),
        (3, "score: None is none of 0, 1"),
    ]
    assert {one.id for one in found.rows if one.failure is not None} == {"1", "3"}
    assert standing("a", found.rows, scheme=WISE_VERIFIED, seed=0).excluded.overall is None, "five categories are empty"
