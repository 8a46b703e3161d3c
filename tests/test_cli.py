from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gen_searcher import __version__, cli
from gen_searcher.config import load
from gen_searcher.errors import UserError


def test_words_flags_and_overrides_may_come_in_any_order() -> None:
    name, options, overrides = cli.parse(["grpo", "a=1", "--cfg", "b.c=2", "--config-dir", "x", "+d=3", "~e"])
    assert name == "grpo"
    assert options == cli.Options(cfg=True, config_dir=Path("x"))
    assert overrides == ["a=1", "b.c=2", "+d=3", "~e"]


def test_a_command_of_two_words_and_the_folder_of_report() -> None:
    assert cli.parse(["world", "serve", "seed=1"])[0] == "world serve"
    assert cli.parse(["bench", "analysis", "runs/a"]) == (
        "bench analysis",
        cli.Options(cfg=False, config_dir=None),
        ["run_dir='runs/a'"],
    )
    assert cli.parse(["bench", "bench.tasks=2"])[0] == "bench"
    assert cli.parse(["report", "runs/my run"])[2] == ["run_dir='runs/my run'"]
    assert cli.parse(["judge", "check", "my_pkg:MyJudge", "seed=1"])[2] == [
        "seed=1",
        "judge_check.judge='my_pkg:MyJudge'",
    ]
    assert cli.parse(["judge", "check"])[0] == "judge check"


def test_a_flag_of_replay_is_a_setting_of_its_own() -> None:
    name, _, overrides = cli.parse(
        ["replay", "runs/my run", "--step", "12", "--pack=out's.bundle", "replay.tolerance=0"]
    )
    assert name == "replay"
    cfg = load.load(overrides)
    assert str(cfg.run_dir) == "runs/my run"
    assert (cfg.replay.step, str(cfg.replay.pack), cfg.replay.tolerance) == (12, "out's.bundle", 0.0)
    assert load.load(cli.parse(["replay", "--bundle", "a.bundle"])[2]).replay.bundle == Path("a.bundle")


def test_the_flags_of_report_are_settings_of_its_own() -> None:
    name, _, overrides = cli.parse(["report", "runs/a", "--compare", "runs/b", "--serve", "serve.port=8600"])
    assert name == "report"
    cfg = load.load(overrides)
    assert (str(cfg.run_dir), str(cfg.report.compare), cfg.report.serve) == ("runs/a", "runs/b", True)
    assert (cfg.serve.host, cfg.serve.port) == ("127.0.0.1", 8600)
    assert not load.load(cli.parse(["report", "runs/a"])[2]).report.serve
    with pytest.raises(UserError, match="--serve belongs to the command 'report', not to 'grpo'"):
        cli.parse(["grpo", "--serve"])


def test_the_doctor_looks_outside_only_when_it_is_told_to() -> None:
    assert load.load(cli.parse(["doctor", "experiment=laptop", "--online"])[2]).doctor.online
    assert not load.load(cli.parse(["doctor", "experiment=laptop"])[2]).doctor.online


def test_what_a_submission_is_told_of_the_driver_is_printed_and_nothing_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["grpo", "experiment=laptop", f"run_dir={tmp_path}/run", "--submit-options"]
    assert cli.run([*words, "cluster.roles.driver.memory_gib=2"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["--entrypoint-memory", str(2 * 2**30)]
    assert cli.run(words) == 0
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "run").exists()


def test_a_flag_of_another_command_is_refused_and_a_word_is_no_step() -> None:
    with pytest.raises(UserError, match="--step belongs to the command 'replay', not to 'grpo'"):
        cli.parse(["grpo", "--step", "3"])
    with pytest.raises(UserError, match=r"replay\.step: found 'x' \(str\), expected: integer"):
        load.load(cli.parse(["replay", "run", "--step", "x"])[2])


def test_a_request_may_hold_any_character() -> None:
    request = """the flag of Côte d'Ivoire, "a = b", {c} [d] $e ~f"""
    _, _, overrides = cli.parse(["generate", request, "seed=1"])
    assert load.load(["experiment=smoke", *overrides]).generate.prompt == request


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "which command?"),
        (["fly"], "there is no command 'fly'; there is: sft, grpo,"),
        (["world"], "there is: world build, world tasks, world ledger, world train-painter, world serve"),
        (["world", "fly"], "there is no command 'world fly'; there is: world build"),
        (["grpo", "fast"], "'fast' is neither key=value nor part of the command 'grpo'"),
    ],
)
def test_a_wrong_command_says_what_there_is(argv: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match="command") as caught:
        cli.parse(argv)
    assert complaint in str(caught.value)


def test_cfg_prints_the_resolved_config_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["grpo", "--cfg", "experiment=smoke", "grpo.steps=9"]) == 0
    assert "  steps: 9\n" in capsys.readouterr().out


def test_a_user_mistake_is_one_message_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["grpo", "grpo.stepz=9"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "gen-searcher: the configuration has a problem:",
        "  grpo.stepz: there is no such setting; did you mean grpo.steps?",
    ]


def test_preflight_stops_a_command_with_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.run(["sft", f"run_dir='{tmp_path}/file/run'", "tasks.train=nowhere.jsonl"]) == 3
    text = capsys.readouterr().err
    assert f"run_dir: {tmp_path}/file is a file, not a folder" in text
    assert "tasks.train: there is no file nowhere.jsonl" in text


def test_every_command_has_a_body() -> None:
    for command in cli.COMMANDS.values():
        assert callable(cli.body(command))


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom gen_searcher import cli\n"
        "try:\n    cli.run(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'ray', 'vllm', 'transformers', 'hydra', 'pydantic', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for flag, expected in (("--help", "commands:"), ("--version", __version__)):
        done = subprocess.run([sys.executable, "-c", code, flag], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert expected in done.stdout


def test_loading_the_config_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom gen_searcher.config import load\nload.load(['experiment=laptop'])\n"
        "heavy = {'torch', 'ray', 'vllm', 'transformers', 'diffusers', 'deepspeed'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
