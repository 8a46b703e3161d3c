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
