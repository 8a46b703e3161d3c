"""Without a container engine: the steps of the CPU image on a minimal Debian, and the image at work. Asks package archives."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.launch.dockerfile import read
from tests.launch.image import Image, build, packages_of_this_machine
from tests.launch.lists import packages, plain

ROOT = Path(__file__).parents[2]
INDEX = "GEN_SEARCHER_TORCH_INDEX"
ARGUMENTS = {name: os.environ[name] for name in (INDEX,) if name in os.environ}  # noqa: TID251 - `--build-arg` of the image
COMMAND_S = 1200.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def image(folder: Path, base: Path) -> Image:
    stages = read((ROOT / "docker" / "cpu.Dockerfile").read_text(), arguments=ARGUMENTS)
    return build(stages, base=base, context=ROOT, folder=folder, packages=packages_of_this_machine())


def test_the_image_holds_the_locked_packages_and_no_others(image: Image) -> None:
    bare = replace(image, entry=())
    done = bare.run("python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check", timeout_s=300)
    assert done.returncode == 0, done.stderr
    found = {plain(each["name"]): each["version"].partition("+")[0] for each in json.loads(done.stdout)}
    locked = {**packages(), **packages("trackers")}
    with_python = {"pip", "setuptools"}
    assert found.keys() - locked.keys() - with_python == {"gen-searcher"}
    assert {name: found[name] for name in locked} == locked


def test_without_words_it_prints_its_help_to_a_user_who_cannot_change_it_and_has_no_network(image: Image) -> None:
    done = image.run(timeout_s=COMMAND_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: gen-searcher")
    asked = "id -u; pwd; touch /opt/gen_searcher/x || echo no; tail -n +3 /proc/net/dev | cut -d: -f1"
    told = replace(image, entry=()).run("sh", "-c", asked, timeout_s=60)
    assert told.stdout.split() == ["10001", "/runs", "no", "lo"]


def test_a_policy_is_tuned_trained_and_measured_in_it_without_a_network(image: Image) -> None:
    settings = ("experiment=smoke", "run_dir=/runs/smoke")
    for command, *words in (("sft",), ("grpo",), ("bench", "bench.arms=[no-search,sft+grpo]")):
        done = image.run(command, *settings, *words, timeout_s=COMMAND_S)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stderr.splitlines()[-1])["meaning"] == "done"
    run_dir = image.root / "runs" / "smoke"
    assert len((run_dir / "grpo" / "metrics.jsonl").read_text().splitlines()) == 2
    assert [row["arm"] for row in json.loads((run_dir / "bench" / "table.json").read_text())["arms"]] == [
        *("no-search", "sft+grpo")
    ]
    assert {path.stat().st_uid for path in run_dir.rglob("*")} == {10001}
