"""Files of rows from strangers: what can be read is read, what cannot is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.bench.rowfile import id_problem, listed, read_rows
from gen_searcher.errors import DataError

ROWS = [{"id": number, "prompt": f"p{number}", "meta": {"category": "art"}} for number in range(4)]


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "rows.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_gives_each_row_with_the_line_it_begins_in(tmp_path: Path, indent: int | None) -> None:
    file = read_rows(written(tmp_path, json.dumps(ROWS, indent=indent)))
    assert [line.values for line in file.lines] == ROWS
    assert [line.number for line in file.lines] == ([1, 1, 1, 1] if indent is None else [2, 9, 16, 23])
    assert file.problems == ()


def test_json_lines_may_have_empty_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeff" + json.dumps(ROWS[0]) + "\n\n" + json.dumps(ROWS[1]) + "\n"
    assert [line.number for line in read_rows(written(tmp_path, text)).lines] == [1, 3]


def test_a_broken_line_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[1] = lines[1][:-5]
    lines[2] = "[1, 2]"
    file = read_rows(written(tmp_path, "\n".join(lines)))
    assert [line.values["id"] for line in file.lines] == [0, 3]
    assert [problem.line for problem in file.problems] == [2, 3]
    assert str(file.problems[1]) == f"{tmp_path}/rows.json, line 3: [1, 2] is not a JSON object"


def test_an_array_goes_on_with_the_next_whole_row_after_a_broken_one(tmp_path: Path) -> None:
    text = json.dumps(ROWS, indent=1).replace('"prompt": "p1",', '"prompt": p1,')
    file = read_rows(written(tmp_path, text))
    assert [line.values["id"] for line in file.lines] == [0, 2, 3], "the meta of the broken row is not taken for a row"
    assert [(problem.line, problem.what) for problem in file.problems] == [(11, "not JSON: Expecting value")]


def test_an_array_that_was_cut_off_says_so(tmp_path: Path) -> None:
    text = json.dumps(ROWS, indent=1)
    file = read_rows(written(tmp_path, text[: text.index('"p3"')]))
    assert [line.values["id"] for line in file.lines] == [0, 1, 2]
    assert "no end" in file.problems[-1].what


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"id": 1, "prompt": "\xff"}', "not UTF-8 text"),
        (b'{"id": 1, "prompt": "\\ud800"}', "not UTF-8 text"),
        (b'{"id": 1, "prompt": NaN}', "not JSON: NaN is not JSON"),
        (b'{"id": ' + b"[" * 100_000, "not JSON: nested too deeply"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
    ],
)
def test_text_that_would_break_something_later_is_a_problem_here(tmp_path: Path, line: bytes, what: str) -> None:
    file = read_rows(written(tmp_path, line + b"\n" + json.dumps(ROWS[0]).encode()))
    assert len(file.lines) == 1
    assert file.problems[0].what.startswith(what)


@pytest.mark.parametrize("text", ["", "[]", "not rows", '{"a": '])
def test_a_file_without_a_row_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"rows\.json holds no row"):
        read_rows(written(tmp_path, text))
    with pytest.raises(DataError, match="there is no file"):
        read_rows(tmp_path / "other.json")


@given(st.binary(max_size=200), st.integers(0, 100))
def test_whatever_is_in_the_file_every_sound_line_is_read_and_nothing_else_raises(noise: bytes, at: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lines = [json.dumps(row).encode() for row in ROWS]
        lines.insert(at % 5, noise.replace(b"\n", b"").replace(b"[", b""))
        path = Path(folder) / "rows.json"
        path.write_bytes(b"\n".join(lines))
        file = read_rows(path)
    assert [line.values for line in file.lines if line.values in ROWS] == ROWS


@pytest.mark.parametrize(
    "row_id", ["../../etc/passwd", "a/b", "a\\b", "..", ".hidden", "", "a\nb", "x" * 201, "C:..", "\0"]
)
def test_an_id_that_leads_out_of_a_folder_is_a_problem(row_id: str) -> None:
    assert id_problem(row_id) is not None


@pytest.mark.parametrize("row_id", ["3260", "knowgen-mini-1-001", "a.b", "früh 7"])
def test_an_ordinary_id_is_none(row_id: str) -> None:
    assert id_problem(row_id) is None


def test_a_long_list_says_how_much_is_not_shown(tmp_path: Path) -> None:
    file = read_rows(written(tmp_path, json.dumps(ROWS[0]) + "\nx\ny\nz"))
    assert listed(file.problems, most=2)[2] == "... and 1 more"
    assert len(listed(file.problems, most=3)) == 3
