"""Planted mistakes: doctor finds each, names its setting, and says what to do."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gen_searcher.cluster import look, session
from gen_searcher.commands import doctor
from gen_searcher.config import load

ROW = json.dumps({"id": "a", "prompt": "p", "gt_image": "nowhere.png"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is written wrongly, and what doctor must say; `{tmp}` stands for the test's folder."""

    settings: tuple[str, ...]
    found: str
    """Which setting, and what was found there."""
    cure: str
    """What to write or do instead."""


PLANTED = {
    "a key that is not there": Mistake(
        settings=("search=serper",),
        found="search.search.key: the environment variable SERPER_API_KEY is not set",
        cure="export it before the command starts, on a cluster on every node, or write file:/path of a file",
    ),
    "a key within a judge's server that is not there": Mistake(
        settings=("judge=openai",),
        found="judges.image.server.key: the environment variable OPENAI_API_KEY is not set",
        cure="export it before the command starts",
    ),
    "a key file that is not there": Mistake(
        settings=("search=serper", "search.search.key='file:{tmp}/no-key'"),
        found="search.search.key: cannot read the secret file {tmp}/no-key: No such file or directory",
        cure="write the value into it, readable by this user, or correct the path",
    ),
    "a generator that nobody has": Mistake(
        settings=("generator._target_=my_pkg.Gone",),
        found="generator._target_: there is no module 'my_pkg' (from 'my_pkg.Gone')",
        cure="install the package that holds it into this Python, or correct the name",
    ),
    "a keyword with a slip": Mistake(
        settings=("+generator.thread=1",),
        found="generator.thread: gen_searcher.engines.painter.EmbeddedPainter takes no keyword 'thread'",
        cure="did you mean 'threads'?",
    ),
    "a task file that is not there": Mistake(
        settings=("tasks.train=nowhere.jsonl",),
        found=f"tasks.train: there is no file nowhere.jsonl in {Path.cwd()}",
        cure="correct the path, or put the file there",
    ),
    "a task without its picture": Mistake(
        settings=("tasks.train='{tmp}/rows.jsonl'",),
        found="rows.jsonl, line 1: gt_image: there is no file {tmp}/nowhere.png",
        cure="put the picture there, or correct the line: paths are relative to the task file's folder",
    ),
    "training on what is tested": Mistake(
        settings=("tasks.train='{tmp}/rows.jsonl'", "tasks.heldout='{tmp}/rows.jsonl'"),
        found="tasks.heldout: the same file as tasks.train ({tmp}/rows.jsonl); held-out tasks must not be trained on",
        cure="name another file, or write tasks.heldout=null for those of the embedded world",
    ),
    "a policy that is none": Mistake(
        settings=("policy.path='{tmp}'",),
        found="policy.path: {tmp} is not a model folder: it has no config.json",
        cure="name the folder that holds config.json and the .safetensors files",
    ),
    "a run directory without a parent": Mistake(
        settings=("run_dir='{tmp}/no/run'",),
        found="run_dir: {tmp}/no/run cannot be made, its parent {tmp}/no does not exist",
        cure="make it, or correct run_dir",
    ),
    "a run directory that is a file": Mistake(
        settings=("run_dir='{tmp}/rows.jsonl'",),
        found="run_dir: {tmp}/rows.jsonl is a file, not a folder",
        cure="set run_dir to a folder's path, or move the file away",
    ),
    "a run directory where nobody may write": Mistake(
        settings=("run_dir=/sys/run",),
        found="run_dir: nothing can be written to /sys: ",
        cure="give this user the right and the room to write there, or set run_dir to a folder where it has both",
    ),
    "contexts that do not fit": Mistake(
        settings=("policy.max_context_tokens=1024",),
        found="agent.max_context_tokens: 2048 is more than policy.max_context_tokens=1024",
        cure="set agent.max_context_tokens=1024 or less, or raise policy.max_context_tokens",
    ),
    "GPUs that are not there": Mistake(
        settings=("cluster.roles.rollout.gpus=1", "cluster.rollout_workers=4096"),
        found="cluster: 4096 GPUs needed, ",
        cure="ask for less (cluster.roles.*, cluster.*_workers), or join a cluster with cluster.address=auto",
    ),
    "memory that is not there": Mistake(
        settings=("cluster.roles.generator.memory_gib=999999",),
        found="cluster: 999999.0 GiB of memory needed, ",
        cure="ask for less (cluster.roles.*, cluster.*_workers), or join a cluster with cluster.address=auto",
    ),
    "equal attempts": Mistake(
        settings=("agent.temperature=0",),
        found="agent.temperature: 0 makes the attempts of a group equal",
        cure="use 1.0",
    ),
    "a reward without its judge": Mistake(
        settings=("~judges.text",),
        found="judges.text: missing, and reward.alpha=0.5 gives it a share of 0.5",
        cure="take both judges with judge=offline or judge=openai, or set reward.alpha=0",
    ),
    "more references than the generator takes": Mistake(
        settings=("generator=qwen_edit_2509", "agent.max_references=5"),
        found="agent.max_references: 5 is more than the 3 that",
        cure="set agent.max_references=3 or choose another generator",
    ),
    "an address of the dashboard where the head's is wanted": Mistake(
        settings=("cluster=auto",),
        found="cluster at RAY_ADDRESS=http://127.0.0.1:8265 cannot be joined: it is not HOST:PORT",
        cure="set RAY_ADDRESS to HOST:PORT of a head that runs, or use cluster.address=local",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_with_its_cure(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("SERPER_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    (tmp_path / "rows.jsonl").write_text(ROW + "\n")
    mistake = PLANTED[name]
    words = [each.replace("{tmp}", str(tmp_path)) for each in mistake.settings]
    code = doctor.run(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *words]))
    said = capsys.readouterr().out
    assert code == 3
    _, _, problems = said.partition("configuration: cannot start\n")
    found = mistake.found.replace("{tmp}", str(tmp_path))
    line = next((line for line in problems.splitlines() if found in line), "")
    assert mistake.cure in line.partition(found)[2], said


def test_a_sound_configuration_may_start_and_its_sums_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = doctor.run(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", "cluster.rollout_workers=3"]))
    said = capsys.readouterr().out
    assert code == 0
    assert "configuration: ready to start" in said
    assert "rollout      3 x 0.01 CPUs" in said
    assert re.search(r"\n  found +\d+ CPUs, \d+ GPUs, \d+\.\d GiB of memory on this machine\n", said)
    assert re.search(r"\nGPU: +\d+ in this machine", said)
    assert "hosted services" not in said


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            ["generator=nano_banana_pro", "generator.model=gemini-3-pro-image-preview"],
            "generator.model: gemini-3-pro-image-preview has ended on 2026-06-25, as Google's list of deprecations "
            "(ai.google.dev/gemini-api/docs/deprecations) says; set generator.model=gemini-3-pro-image",
        ),
        (
            ["search=searxng", "search.images.base_url=https://api.bing.microsoft.com/v7.0"],
            "search.images.base_url: api.bing.microsoft.com has ended on 2025-08-11, as its maker has announced; choose "
            "another service, e.g. search=serper",
        ),
        (
            ["+bench.generators.old={_target_: a.B, model: gemini-3-pro-image-preview}"],
            "bench.generators.old.model: gemini-3-pro-image-preview has ended",
        ),
    ],
    ids=["an image model", "a search service", "an image model of the benchmark"],
)
def test_a_hosted_service_that_has_ended_is_advised_against_wherever_it_is_named(
    words: list[str], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor.run(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", *words]))
    assert f"advice: {advice}" in capsys.readouterr().out


def test_a_head_that_nobody_started_takes_seconds_and_not_the_minute_that_a_job_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look.HEAD_DEADLINE_S + look.DEADLINE_S <= 55.0  # with all the rest it is a minute
    monkeypatch.setattr(look, "HEAD_DEADLINE_S", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else gets the port, and nobody listens on it
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        begun = time.monotonic()
        code = doctor.run(load.load(["experiment=laptop", f"run_dir='{tmp_path}/run'", "cluster=auto"]))
    assert time.monotonic() - begun < session.HEAD_DEADLINE_S / 2
    said = capsys.readouterr().out
    assert code == 3
    assert "found            no cluster was joined, see below" in said
    assert f"RAY_ADDRESS={address} cannot be joined: nobody answers there" in said
    assert "set RAY_ADDRESS to HOST:PORT" in said


def test_pictures_that_a_search_can_bring_and_nobody_would_be_shown_are_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=smoke", f"run_dir={tmp_path}/run"]
    for most, is_said in ((15, False), (14, True)):
        doctor.run(load.load([*words, f"policy.max_images={most}"]))
        told = (
            "advice: policy.max_images: 14 pictures are shown to a policy at most, and agent.max_tool_calls=5 with "
            "agent.tools.images_per_search=3 can bring 15; those beyond are named and not shown, which policy.max_images=15"
        )
        assert (told in capsys.readouterr().out) is is_said
