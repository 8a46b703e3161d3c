from __future__ import annotations

from pathlib import Path

import pytest

from gen_searcher import cli
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.scale import ScaleConfig, parse_scale, read_scale
from gen_searcher.errors import ConfigError


def test_only_what_is_named_changes() -> None:
    before = ClusterConfig(rollout_workers=2, tool_workers=3, call_timeout_s=7.0)
    asked = parse_scale('{"rollout_workers": 5}', source=Path("scale.json"))
    assert asked.over(before) == ClusterConfig(rollout_workers=5, tool_workers=3, call_timeout_s=7.0)
    assert ScaleConfig().over(before) == before
    assert str(asked) == "cluster.rollout_workers=5"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"rollout_workers": 0}', "rollout_workers"),
        ('{"rolout_workers": 2}', "did you mean rollout_workers"),
        ('{"learner_ranks": 2}', "learner_ranks"),
        ('{"rollout_workers": 2', "JSON"),
        ("", "JSON"),
        ("[4]", "expected: an object"),
        ('{"rollout_workers": NaN}', "expected: a finite number"),
        ('{"rollout_workers": 1e999}', "expected: a finite number"),
        ('{"tool_workers": 5000}', "expected: less than or equal to 4096"),
        (f'{{"tool_workers": 1{"0" * 400}}}', "expected: less than or equal to 4096"),
        (f'{{"tool_workers": 1{"0" * 5000}}}', "JSON"),
        ("[" * 60_000, "JSON"),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"run/scale\.json") as refused:
        parse_scale(text, source=Path("run/scale.json"))
    assert says in str(refused.value)


def test_the_command_writes_what_is_named_and_keeps_what_was_asked_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_scale(tmp_path / "scale.json") == ScaleConfig()
    assert cli.run(["scale", str(tmp_path), "experiment=smoke", "cluster.rollout_workers=4"]) == 0
    assert cli.run(["scale", f"run_dir={tmp_path}", "cluster.tool_workers=2"]) == 0
    assert read_scale(tmp_path / "scale.json") == ScaleConfig(rollout_workers=4, tool_workers=2)
    assert "cluster.rollout_workers=4 cluster.tool_workers=2" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["scale.json"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cluster.call_timeout_s=5"], "cluster.rollout_workers=N"),
        (["cluster.rollout_workers=0"], "cluster.rollout_workers"),
        (["run_dir=/nowhere/at/all", "cluster.rollout_workers=2"], "there is no run directory"),
    ],
)
def test_the_command_says_what_is_missing(
    tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["scale", f"run_dir={tmp_path}", *words]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [(b'{"rollout_workers": 2}\xff', "is not UTF-8"), (b"\x00\xd8" * 9, "is not UTF-8"), (b" " * (1 << 17), "JSON")],
)
def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path, body: bytes, says: str) -> None:
    path = tmp_path / "scale.json"
    path.write_bytes(body)
    with pytest.raises(ConfigError, match=rf"(?s)scale\.json.*{says}") as refused:
        read_scale(path)
    assert len(str(refused.value)) < 1000


def test_a_folder_in_its_place_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "scale.json").mkdir()
    with pytest.raises(ConfigError, match=r"scale\.json cannot be read: Is a directory"):
        read_scale(tmp_path / "scale.json")


def test_the_command_refuses_more_workers_than_anybody_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["scale", str(tmp_path), "experiment=smoke", "cluster.rollout_workers=44444"]) == 2
    said = capsys.readouterr().err
    assert "cluster, on the command line or in what it names: " in said
    assert "rollout_workers: found 44444 (int), expected: less than or equal to 4096" in said
    assert "scale.json" not in said, "the number does not stand there"
    assert list(tmp_path.iterdir()) == []


def test_the_command_blames_the_file_for_what_stands_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scale.json").write_text('{"tool_workers": 5000}')
    assert cli.run(["scale", str(tmp_path), "experiment=smoke", "cluster.rollout_workers=4"]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/scale.json: " in said
    assert "command line" not in said
