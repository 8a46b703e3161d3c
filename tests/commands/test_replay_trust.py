"""A record names classes, and building one runs it: that of a stranger is refused before anything of it is imported."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from gen_searcher.cli import run
from gen_searcher.commands.replay import workplace
from gen_searcher.commands.replay_trust import ANSWERED, BUILT, check_trusted
from gen_searcher.config import load
from gen_searcher.config.capability import is_local
from gen_searcher.config.plug import Plug
from gen_searcher.config.replay import ReplayConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import UserError
from gen_searcher.train.bundle import MANIFEST, pack
from gen_searcher.train.step_log import config_digest
from tests.train.recorded_run import REPORT, RecordedRun

MIXTURE = "gen_searcher.engines.mixture.Mixture"
COMPOSITOR: dict[str, JsonValue] = {"_target_": "gen_searcher.engines.compositor.Compositor"}


def hostile(tmp_path: Path) -> dict[str, JsonValue]:
    return {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "harmed")]}


def with_plugs(**plugs: JsonValue) -> RunConfig:
    return RunConfig.model_validate({**load.load().model_dump(mode="json"), **plugs})


async def bundle_of(tmp_path: Path, cfg: RunConfig) -> Path:
    """A bundle of one step that says it was made with these settings."""
    made = RecordedRun.at(tmp_path / "run")
    group = await made.group("a")
    made.finish([group])
    made.train(1, [group], replace(REPORT), config=load.dump_yaml(cfg))
    made.folder.policy("sft").mkdir(parents=True)
    (made.folder.policy("sft") / "config.json").write_text("{}")
    (made.folder.root / MANIFEST).write_text(json.dumps({"format": 1, "step": 1}))
    pack(made.folder.root, tmp_path / "step.bundle")
    return tmp_path / "step.bundle"


ALL = ("replay.judges=again", "replay.pictures=drawn")


@pytest.mark.fault(43)
@pytest.mark.parametrize("place", ["judges.image", "generator", "generator.members.odd", "judges.text.reader"])
async def test_a_bundle_that_names_a_class_of_its_own_is_refused_before_anything_is_built(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, judges = hostile(tmp_path), load.load().model_dump(mode="json")["judges"]
    cfg = {
        "judges.image": lambda: with_plugs(judges={**judges, "image": harm}),
        "judges.text.reader": lambda: with_plugs(judges={**judges, "text": {**judges["text"], "reader": harm}}),
        "generator": lambda: with_plugs(generator=harm),
        "generator.members.odd": lambda: with_plugs(
            generator={"_target_": MIXTURE, "members": {"good": COMPOSITOR, "odd": harm}}
        ),
    }[place]()
    file = await bundle_of(tmp_path, cfg)
    assert run(["replay", "--bundle", str(file), *ALL]) == 2
    said = capsys.readouterr().err
    assert place.rpartition(".")[0] in said
    assert "and this replay would run it" in said
    assert "--trust " in said
    assert not (tmp_path / "harmed").exists()


async def test_a_class_that_cannot_be_had_here_is_refused_before_it_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "this"  # a module of the standard library that prints when it is imported
    assert name not in sys.modules
    file = await bundle_of(tmp_path, with_plugs(generator={"_target_": f"{name}.Model"}))
    assert run(["replay", "--bundle", str(file), *ALL]) == 2
    assert "generator: the record names this.Model, which does not ship with gen_searcher" in capsys.readouterr().err
    assert name not in sys.modules


async def test_who_trusts_a_class_says_so_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await bundle_of(tmp_path, with_plugs(generator={"_target_": "my_draws.mine.Model"}))
    for named in ("my_draws.mine.Model", "my_draws", "other,my_draws.mine"):
        run(["replay", "--bundle", str(file), *ALL, "--trust", named])
        assert "this replay would run it" not in capsys.readouterr().err, named
    for named in ("my_draw", "my_draws.min", "my_draws.mine.Models"):
        assert run(["replay", "--bundle", str(file), *ALL, "--trust", named]) == 2
        assert "this replay would run it" in capsys.readouterr().err, named


def test_a_plug_of_the_package_with_a_path_in_it_is_refused() -> None:
    cfg = with_plugs(generator={"_target_": "gen_searcher.engines.painter.EmbeddedPainter", "path": "/tmp/x"})
    settings = ReplayConfig(bundle=Path("b"), pictures="drawn")
    with pytest.raises(UserError, match=r"generator: the record names .*EmbeddedPainter with path"):
        check_trusted(cfg, settings)
    check_trusted(cfg, settings.model_copy(update={"pictures": "stored"}))


def test_a_function_of_the_package_is_no_plug_that_ships() -> None:
    with pytest.raises(UserError, match=r"gen_searcher\.cli\.run, which does not ship"):
        check_trusted(
            with_plugs(generator={"_target_": "gen_searcher.cli.run", "argv": ["doctor"]}),
            ReplayConfig(bundle=Path("b"), pictures="drawn"),
        )


def test_the_plugs_of_a_run_directory_of_ones_own_are_built_unless_one_says_no(tmp_path: Path) -> None:
    cfg = with_plugs(generator=hostile(tmp_path))
    check_trusted(cfg, ReplayConfig(pictures="drawn"))
    for trust in ([], ["my_package"]):
        with pytest.raises(UserError, match=r"subprocess\.Popen"):
            check_trusted(cfg, ReplayConfig.model_validate({"pictures": "drawn", "trust": trust}))


def test_what_a_replay_does_not_ask_is_not_looked_at(tmp_path: Path) -> None:
    check_trusted(with_plugs(generator=hostile(tmp_path)), ReplayConfig(bundle=Path("b")))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.fault(43)
async def test_the_fault_plan_of_a_record_is_never_followed(tmp_path: Path) -> None:
    cfg = load.load()
    plan = Plug.model_validate(hostile(tmp_path))
    cfg = cfg.model_copy(update={"cluster": cfg.cluster.model_copy(update={"fault_plan": plan})})
    text = load.dump_yaml(cfg)
    assert "subprocess.Popen" in text
    made = RecordedRun.at(tmp_path)
    made.train(1, [], config=text)
    for settings in (ReplayConfig(), ReplayConfig(placed="as_run"), ReplayConfig(bundle=Path("b"))):
        assert workplace(made.folder, settings, config_digest(text)).cfg.cluster.fault_plan is None


async def test_settings_that_were_changed_behind_the_record_are_refused(tmp_path: Path) -> None:
    text = load.dump_yaml(load.load())
    made = RecordedRun.at(tmp_path)
    made.train(1, [], config=text)
    path = made.folder.step_config(config_digest(text))
    path.write_text(text.replace("seed: 0", "seed: 1", 1))
    with pytest.raises(UserError, match="not what the run wrote there"):
        workplace(made.folder, ReplayConfig(), config_digest(text))


def test_the_lists_of_what_ships_are_those_of_the_shipped_configuration() -> None:
    groups = load.groups()
    found: dict[str, Plug] = {}
    for name in groups["generator"]:
        plug = load.load([f"generator={name}"]).generator
        found[plug.target] = plug
    for name in groups["judge"]:
        found |= {plug.target: plug for plug in load.load([f"judge={name}"]).judges.values()}
    assert found.keys() == BUILT.keys() | ANSWERED
    assert {target for target, plug in found.items() if is_local(plug)} == set(BUILT)
