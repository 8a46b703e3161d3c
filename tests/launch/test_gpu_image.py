"""Without a container engine: the steps of the GPU image on a minimal Debian. Nothing in it meets a GPU here.

Asks package archives, for gigabytes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.launch.dockerfile import read
from tests.launch.image import Done, Image, build, packages_of_this_machine
from tests.launch.lists import packages, plain
from tests.launch.test_gpu_lock import LOCK_OF_GPU

ROOT = Path(__file__).parents[2]
COMMAND_S = 600.0
IMPORTS = (
    "import deepspeed, diffusers, ray, torch, torchaudio, torchvision, transformers, vllm; print(torch.version.cuda)"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def image(folder: Path, base: Path) -> Image:
    stages = read((ROOT / "docker" / "train.Dockerfile").read_text())
    return build(stages, base=base, context=ROOT, folder=folder, packages=packages_of_this_machine())


def said(image: Image, *words: str) -> Done:
    done = image.run(*words, timeout_s=COMMAND_S)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def test_the_image_holds_the_locked_packages_and_no_others_and_they_agree(image: Image) -> None:
    pip = ("python", "-m", "pip", "--disable-pip-version-check")
    found = {
        plain(each["name"]): each["version"] for each in json.loads(said(image, *pip, "list", "--format=json").stdout)
    }
    locked = {**LOCK_OF_GPU, **packages("trackers")}
    assert {name: found[name] for name in locked} == locked
    assert found.keys() - locked.keys() - {"pip", "setuptools"} == {"gen-searcher"}
    assert said(image, *pip, "check").stdout.strip() == "No broken requirements found."


def test_its_packages_for_cuda_can_be_imported_where_there_is_none(image: Image) -> None:
    assert said(image, "python", "-c", IMPORTS).stdout.splitlines()[-1] == "13.0"


def test_without_words_it_prints_the_help_to_a_user_who_finds_a_compiler_and_cannot_change_it(image: Image) -> None:
    assert said(image).stdout.startswith("usage: gen-searcher")
    asked = "id -un; pwd; touch /opt/gen_searcher/x || echo no; for name in gcc ip wget; do command -v $name; done"
    told = replace(image, entry=()).run("sh", "-c", asked, timeout_s=60)
    assert told.stdout.split() == ["searcher", "/runs", "no", "/usr/bin/gcc", "/usr/sbin/ip", "/usr/bin/wget"]
