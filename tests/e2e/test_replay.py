"""Steps with pictures and verdicts, replayed in fresh processes: a teacher writes the attempts, everything else is a run's."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from PIL import Image

from gen_searcher import cli
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.roles import ToolPool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.fingerprints import fingerprint
from gen_searcher.commands.grpo import learner_spec, rules_of
from gen_searcher.commands.identity import check_identity
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.image_store import ImageStore
from gen_searcher.train.attempt import run_group
from gen_searcher.train.bundle import pack, unpack
from gen_searcher.train.grpo import step_batch
from gen_searcher.train.run import AttemptLog, RunFolder, TurnReader
from gen_searcher.train.step_log import StepLog, config_digest
from gen_searcher.types import Task, Trajectory
from gen_searcher.world.teacher import Teacher, TeacherFlaws

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")
FLAWS = TeacherFlaws(oversearch=0.3, first_picture=0.6, forgets_caption=0.5)
SETTINGS = (
    "experiment=smoke",
    "grpo.group_size=3",
    "grpo.keep_checkpoints=1",
    "grpo.objective.overlong_penalty=0",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class TaughtSearcher:
    """The agent with its real tools and a teacher for a policy; a seed decides what the teacher does wrong."""

    def __init__(self, crew: Crew, renderer: Renderer) -> None:
        self._crew = crew
        self._renderer = renderer

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        teacher = Teacher(task, renderer=self._renderer, flaws=FLAWS, seed=seed)
        tools = ToolPool(self._crew.tools)
        agent = Agent(engine=teacher, tools=tools, renderer=self._renderer, config=self._crew.place.cfg.agent)
        return await agent.search(task, seed=seed)


async def taught_run(place: Workplace, start: Path, *, steps: int) -> None:
    """What `gen-searcher grpo` does, with the taught searcher in place of the rollout workers."""
    rules, folder = rules_of(place.cfg), place.folder
    async with Crew.raise_actors(place) as crew:
        learner = await crew.fleet.learner(learner_spec(place, start), rollouts=None)
        await crew.wait_ready()
        renderer = Renderer.load(start)
        attempt = crew.attempt(TaughtSearcher(crew, renderer))
        attempts = AttemptLog(folder.attempts, read=TurnReader(renderer.text))
        log = StepLog(folder, config=load.dump_yaml(place.cfg))
        tasks = place.tasks("train")
        for step in range(1, steps + 1):
            chosen = tasks[2 * step : 2 * step + 2]
            groups = [
                await run_group(task, seed=100 * step, version=step - 1, rules=rules.group, attempt=attempt)
                for task in chosen
            ]
            for group in groups:
                advantages = attempt_advantages(group, rules.objective)
                attempts.record(group, step=step, group_id=group.task.id, advantages=advantages)
            log.record(step, groups, await learner.step(step_batch(groups, rules)))
            await learner.save(folder.checkpoints.folder(step))
            if step > 1:
                shutil.rmtree(folder.checkpoints.folder(step - 1))
        attempts.close()
        log.close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps that keeps one checkpoint, that of step 3."""
    root = tmp_path_factory.mktemp("replay") / "run"
    cfg = load.load([*SETTINGS, f"run_dir='{root}'"])
    place = Workplace.open(cfg)
    shutil.copytree(place.policy("base"), place.folder.policy("sft"))
    start = place.policy("sft")
    check_identity(place.folder.identity, {"policy": fingerprint(start)}, what="policy")
    with cluster_session(cfg.cluster, run_id="taught", command="grpo"):
        asyncio.run(taught_run(place, start, steps=3))
    assert place.folder.checkpoints.steps() == [3]
    return root


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=400, check=False, cwd=cwd)


def rows(folder: Path) -> list[dict[str, Mapping[str, object]]]:
    return [json.loads(line) for line in (folder / "grpo" / "attempts.jsonl").read_text().splitlines()]


def steps_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "grpo" / "steps.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def bundle(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Step 2, replayed from the start, drawn again and packed."""
    file = tmp_path_factory.mktemp("bundle") / "step-2.bundle"
    done = run("replay", str(run_dir), "--step", "2", "--pack", str(file), "replay.pictures=drawn", cwd=file.parent)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "from the policy after sft" in done.stdout
    assert "everything agrees" in done.stdout
    for step in steps_of(run_dir)[:2]:
        assert step["grad_norm"] != 0.0
        assert re.search(
            rf"^{step['step']} +=\s+{step['loss']!r} +=\s+{step['grad_norm']!r}$", done.stdout, re.MULTILINE
        )
    return file


def test_the_run_has_pictures_verdicts_and_different_rewards(run_dir: Path) -> None:
    attempts = [row["attempt"] for row in rows(run_dir) if row["step"] == 2]
    assert len(attempts) == 6
    assert all(attempt["image"] is not None and len(attempt["judgements"]) == 2 for attempt in attempts)  # type: ignore[arg-type]
    assert any(row["advantage"] != 0.0 for row in rows(run_dir) if row["step"] == 2)


def test_a_bundle_replays_from_the_file_alone_in_an_empty_directory(
    bundle: Path, run_dir: Path, tmp_path: Path
) -> None:
    away = run_dir.with_name("away")
    run_dir.rename(away)
    try:
        done = run("replay", "--bundle", str(bundle), cwd=tmp_path)
    finally:
        away.rename(run_dir)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "everything agrees" in done.stdout
    assert "from the checkpoint of step 1" in done.stdout
    assert list(tmp_path.iterdir()) == []
    step = steps_of(run_dir)[1]
    assert f"= {step['loss']!r}" in done.stdout
    assert f"= {step['grad_norm']!r}" in done.stdout


@pytest.mark.fault(43)
def test_a_bundle_whose_settings_name_a_command_in_every_other_place_replays_and_runs_none_of_them(
    bundle: Path, tmp_path: Path
) -> None:
    folder, harmed = RunFolder(root=tmp_path / "opened"), tmp_path / "harmed"
    unpack(bundle, folder.root)
    harm = {"_target_": "subprocess.Popen", "args": ["touch", str(harmed)]}
    (line,) = steps_of(folder.root)
    path = folder.step_config(str(line["config"]))
    cfg = yaml.safe_load(path.read_text())
    cfg["search"] |= {"search": harm, "images": harm, "reader": harm, "summarizer": harm}
    cfg |= {"generator": harm, "trackers": {"mine": harm}}
    cfg["reward"] |= {"shadow_judges": {"mine": harm}, "shadow_frac": 1.0}
    cfg["data"]["verify"]["judges"] = {"mine": harm}
    cfg["bench"]["generators"] = {"mine": harm}
    cfg["cluster"]["fault_plan"] = harm
    text = yaml.safe_dump(cfg)
    path.unlink()
    folder.step_config(config_digest(text)).write_text(text)
    folder.steps.write_text(json.dumps({**line, "config": config_digest(text)}) + "\n")
    pack(folder.root, tmp_path / "hostile.bundle")
    done = run("replay", "--bundle", "hostile.bundle", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "everything agrees" in done.stdout
    assert not harmed.exists()


def test_an_edited_reward_and_a_changed_picture_are_found_and_named(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(root=tmp_path / "run")
    shutil.copytree(run_dir, folder.root)
    lines = rows(folder.root)
    first, last = [number for number, row in enumerate(lines) if row["step"] == 2][0::5]
    lines[first]["attempt"]["reward"]["total"] = 0.123  # type: ignore[index]
    folder.attempts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    image = str(lines[last]["attempt"]["image"]["sha256"])  # type: ignore[index]
    (path,) = ImageStore(folder.images).root.rglob(f"{image}.png")
    with Image.open(path) as picture:
        size = picture.size
    Image.new("RGB", size, (250, 10, 10)).save(path)
    assert cli.run(["replay", str(folder.root), "--step", "2"]) == 5
    said = capsys.readouterr().out
    task, other = (str(lines[number]["task"]["id"]) for number in (first, last))
    assert f"step 2, task {task}, member 1, reward: recorded 0.123, replayed " in said
    assert f"step 2, task {task}, member 1, record: recorded " in said
    assert f"step 2, task {other}, member 3, picture.{image[:12]}: recorded {image}, replayed " in said
    assert f"step 2, task {other}, member 3, judgement.image: recorded " in said
    named = {match.groups() for match in re.finditer(r"^step 2, task (\S+), member (\d)", said, re.MULTILINE)}
    assert {(task, "1"), (other, "3")} <= named


def test_a_changed_step_on_the_way_is_named_by_its_own_number(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(root=tmp_path / "run")
    shutil.copytree(run_dir, folder.root)
    lines = rows(folder.root)
    turn = lines[0]["attempt"]["trajectory"]["turns"][0]  # type: ignore[index]
    turn["logprobs"][0] = -0.25
    folder.attempts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli.run(["replay", str(folder.root), "--step", "2"]) == 5
    said = capsys.readouterr().out
    seed = lines[0]["attempt"]["seed"]
    assert f"step 1, record of task {lines[0]['task']['id']}, seed {seed}: recorded " in said
    assert "step 1, loss: recorded " in said
