"""`gen-searcher replay` says why a step cannot be replayed; `tests/e2e` replays real ones."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.cassette.seams import TapedJudge
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.cli import run
from gen_searcher.commands.replay_parts import Outside, judges_of
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.capability import is_local
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.replay import ReplayConfig
from gen_searcher.errors import ReplayMiss, UserError
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.testing.fake_judge import FakeJudge
from gen_searcher.tools.meter import Meter
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Grounding, Outcome, Task, Trajectory
from tests.train.recorded_run import REPORT, RecordedRun


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    assert run(["replay", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


async def recorded(root: Path, *, steps: tuple[int, ...], config: str = "run_dir: x\n") -> RecordedRun:
    made = RecordedRun.at(root)
    group = await made.group("a")
    made.finish([group])
    for step in steps:
        made.train(step, [group], replace(REPORT), config=config)
    return made


def test_a_missing_run_and_a_run_without_steps_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "there is no run directory" in refused(capsys, f"{tmp_path}/run", "--step", "1")
    assert "no step is on record there" in refused(capsys, str(tmp_path), "--step", "1")


async def test_a_step_that_is_gone_is_answered_with_those_that_are_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = await recorded(tmp_path, steps=(1, 2, 3, 4))
    made.folder.policy("sft").mkdir(parents=True)
    (made.folder.policy("sft") / "config.json").write_text("{}")
    assert "Steps that can be replayed: of this run: 1-4." in refused(capsys, str(tmp_path), "--step", "9")
    made.folder.steps.write_text("".join(made.folder.steps.read_text().splitlines(keepends=True)[1:]))
    assert "none of this run" in refused(capsys, str(tmp_path), "--step=3")


async def test_a_record_of_another_version_names_the_file_and_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = await recorded(tmp_path, steps=(1,), config="flux: 1\n")
    made.folder.policy("sft").mkdir(parents=True)
    (made.folder.policy("sft") / "config.json").write_text("{}")
    said = refused(capsys, str(tmp_path))
    assert "not a configuration that this version reads" in said
    assert "flux: there is no such setting" in said


def test_settings_that_a_replay_would_not_read_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refused(capsys, str(tmp_path), "--step", "2", "reward.alpha=0.1", "seed=3")
    assert "replay takes its settings from the run's record; leave out seed, reward" in said
    assert "not both" in refused(capsys, str(tmp_path), "--bundle", "x")


def test_a_bundle_that_is_not_there_and_a_file_in_the_way_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "cannot be read as a bundle" in refused(capsys, "--bundle", f"{tmp_path}/none")
    (tmp_path / "there").write_text("")
    assert "there exists; name another file" in refused(capsys, str(tmp_path), "--pack", f"{tmp_path}/there")


def test_the_judges_and_the_painter_that_ship_are_local_and_a_hosted_judge_is_not() -> None:
    cfg = load.load()
    assert all(is_local(plug) for plug in (*cfg.judges.values(), cfg.generator))
    hosted = load.load(["judge=openai", "generator=openai"])
    assert not any(is_local(plug) for plug in (*hosted.judges.values(), hosted.generator))


TASK = Task(id="t", prompt="p", target=None, meta={})
SHOWN = Trajectory(
    task_id="t", turns=(), outcome=Outcome.GROUNDED, grounding=Grounding(gen_prompt="a tree", references=())
)
OUTSIDE = Plug.model_validate(
    {"_target_": f"{FakeJudge.__module__}.FakeJudge", "name": "image", "scores": {"t": 0.625}}
)


def place_of(tmp_path: Path) -> Workplace:
    """A run with a judge from outside and a local one."""
    cfg = load.load([f"run_dir='{tmp_path}'"])
    cfg = cfg.model_copy(update={"judges": {"image": OUTSIDE, "text": cfg.judges["text"]}})
    return Workplace(cfg=cfg, folder=RunFolder(root=tmp_path))


async def test_a_judge_from_outside_is_answered_from_the_cassette_and_a_local_one_judges_again(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    real = FakeJudge(name="image", scores={"t": 0.625})
    tape = Tape(CassetteConfig(mode="record"), folder=place.folder.cassette, meter=Meter())
    await TapedJudge(real, tape, Identity.of(OUTSIDE)).judge(TASK, SHOWN, None)
    tape.close()
    with ExitStack() as closing:
        outside = Outside.of(place, ReplayConfig(), record=None, closing=closing)
        image, text = judges_of(place.cfg, place.store, outside)
        assert isinstance(text, OfflineTextJudge)
        assert (await image.judge(TASK, SHOWN, None)).score == 0.625
        with pytest.raises(ReplayMiss, match=r"holds no answer to: judgement fakejudge .*\"id\":\"other\""):
            await image.judge(replace(TASK, id="other"), SHOWN, None)


def test_without_a_cassette_the_judge_that_would_have_to_be_asked_is_named(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    with ExitStack() as closing:
        outside = Outside.of(place, ReplayConfig(), record=None, closing=closing)
        with pytest.raises(UserError, match=r"judges\.image: a replay takes its answers from the cassette"):
            judges_of(place.cfg, place.store, outside)


async def test_what_is_packed_holds_every_verdict_so_that_a_bundle_asks_nobody(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    tape = Tape(CassetteConfig(mode="record"), folder=place.folder.cassette, meter=Meter())
    await TapedJudge(FakeJudge(name="image", scores={"t": 0.625}), tape, Identity.of(OUTSIDE)).judge(TASK, SHOWN, None)
    tape.close()
    target = RunFolder(root=tmp_path / "bundle")
    with ExitStack() as closing:
        outside = Outside.of(place, ReplayConfig(), record=target, closing=closing)
        (image,) = [judge for judge in judges_of(place.cfg, place.store, outside) if judge.name == "image"]
        await image.judge(TASK, SHOWN, None)
    bundled = Workplace(cfg=place.cfg, folder=target)
    with ExitStack() as closing:
        outside = Outside.of(bundled, ReplayConfig(bundle=Path("b")), record=None, closing=closing)
        judges = judges_of(bundled.cfg, bundled.store, outside)
        assert (await judges[0].judge(TASK, SHOWN, None)).score == 0.625
        with pytest.raises(ReplayMiss, match="holds no answer"):
            await judges[1].judge(TASK, SHOWN, None)
