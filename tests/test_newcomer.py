"""Every command that a page gives can be typed: it parses and composes, and those of the newcomer's path are run by a test."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from gen_searcher import cli
from gen_searcher.config import load
from tests.test_support import suite_of

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    ".github/CONTRIBUTING.md",
    *sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("conf", "gen_searcher", "launch", "tests")
        for path in (ROOT / folder).rglob("README.md")
    ),
]
RUN_BY = {
    "bash launch/demo.sh": "tests/launch/test_demo.py::test_one_command_goes_from_a_clone_to_the_table_and_names_the_report",
    "gen-searcher sft": "tests/launch/test_demo.py::test_one_command_goes_from_a_clone_to_the_table_and_names_the_report",
    "gen-searcher grpo": "tests/launch/test_demo.py::test_one_command_goes_from_a_clone_to_the_table_and_names_the_report",
    "gen-searcher bench": "tests/launch/test_demo.py::test_one_command_goes_from_a_clone_to_the_table_and_names_the_report",
    "gen-searcher generate": "tests/launch/test_demo.py::test_one_command_goes_from_a_clone_to_the_table_and_names_the_report",
    "gen-searcher report": "tests/launch/test_demo.py::test_one_command_goes_from_a_clone_to_the_table_and_names_the_report",
    "ray job submit": "tests/e2e/test_ray_job.py::test_a_submitted_run_writes_to_its_absolute_run_directory_and_succeeds",
    "launch/ray_job.sh": "tests/e2e/test_hosts.py::test_a_job_from_outside_learns_and_searches_on_two_hosts",
    "(umask 077; ray get-auth-token": "tests/e2e/test_token.py::test_both_machines_have_one_token_that_only_its_owner_reads",
    "ssh SECOND": "tests/e2e/test_token.py::test_both_machines_have_one_token_that_only_its_owner_reads",
    "ray start": "tests/e2e/test_hosts.py::test_a_job_from_outside_learns_and_searches_on_two_hosts",
}
"""What stands in a block of its own, by its first words, and the test that runs it with smaller settings."""
NO_TEST_OF_ITS_OWN = "bash launch/test.sh"
"""Runs the tests."""
STANDS_FOR = {
    "RUN_DIR": "runs/x",
    "FILE": "rows.jsonl",
    "...": "runs/x",
    "N": "1",
    "NAME": "parity",
    "HEAD": "10.0.0.1",
}
"""What a reader fills in."""
NEEDS_A_WORD = {"replay", "ladder"}
"""Named without the folder that they take."""
ELSEWHERE = ("generator=mine", "--config-dir my_conf")
"""Settings of a folder that the page describes and the reader makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A command and where it stands."""

    page: str
    text: str
    in_block: bool

    @property
    def plain(self) -> str:
        """Without what is set in the environment for it, and without its comment."""
        return re.sub(r"^(?:[A-Z][A-Z_]*=\S+ )+", "", re.sub(r"\s+#.*", "", self.text))


def given() -> list[Given]:
    found: list[Given] = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            found += [Given(page=page, text=line, in_block=True) for line in block.splitlines() if line.strip()]
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            lines = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
            found += [Given(page=page, text=line, in_block=False) for line in lines]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for quoted in re.findall(r"`([^`]+)`", prose):
            line = " ".join(quoted.split())
            if re.match(r"(gen-searcher|python -m tests|launch|bash launch)\b", line):
                found.append(Given(page=page, text=line, in_block=False))
    return found


GIVEN = given()
OURS = [(one, line) for one in GIVEN for line in [one.plain] if "gen-searcher " in line]


def typed(line: str) -> list[list[str]]:
    """The words after `gen-searcher`, once for each of `a|b`, with what the reader fills in."""
    words = shlex.split(line.partition("gen-searcher ")[2])
    for name, value in STANDS_FOR.items():
        words = [re.sub(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_])", value, word) for word in words]
    return [[first, *words[1:]] for first in words[0].split("|")]


def starts(one: Given) -> list[str]:
    """The entries of `RUN_BY` for it."""
    line = " ".join(one.plain.split())
    return [words for words in RUN_BY if line.startswith(words)]


@pytest.mark.parametrize(("one", "line"), OURS, ids=[f"{one.page}: {line}" for one, line in OURS])
def test_a_command_of_a_page_parses_and_its_settings_compose(one: Given, line: str) -> None:
    if line.endswith(ELSEWHERE):
        line = re.sub(rf"\s(?:{'|'.join(ELSEWHERE)})", "", line)
    for words in typed(line):
        taken = [*words, "runs/x"] if " ".join(words) in NEEDS_A_WORD else words
        name, _, overrides = cli.parse(taken)
        assert name in cli.COMMANDS
        load.load(overrides)


@pytest.mark.parametrize("one", [one for one in GIVEN if one.in_block], ids=lambda one: one.plain)
def test_a_command_that_stands_in_a_block_is_run_by_a_test(one: Given) -> None:
    if one.plain.startswith(NO_TEST_OF_ITS_OWN):
        return
    (words,) = starts(one)
    assert suite_of(RUN_BY[words]) in ("default", "slow")


def test_no_entry_is_left_of_a_command_that_no_page_gives() -> None:
    assert {words for one in GIVEN if one.in_block for words in starts(one)} == RUN_BY.keys()


def test_a_script_or_module_that_a_page_names_is_there() -> None:
    for one in GIVEN:
        for path in re.findall(r"(?<!\S)launch/[\w./-]*", one.text):
            assert (ROOT / path).exists(), one
        for module in re.findall(r"python -m (tests\.[\w.]+)", one.text):
            for name, value in STANDS_FOR.items():
                module = re.sub(rf"\b{re.escape(name)}$", value, module)
            assert importlib.util.find_spec(module) is not None, one


def test_the_path_is_there_from_clone_to_table_to_generator_to_two_nodes() -> None:
    texts = [one.plain for one in GIVEN]
    assert any(text.startswith("bash launch/demo.sh") for text in texts)
    assert any("generator._target_=my_generators.Collage" in text for text in texts), (
        "test_plugged_generator.py runs it"
    )
    starts_ray = [text for text in texts if text.startswith("ray start")]
    assert [("--head" in text, "--address" in text) for text in starts_ray] == [(True, False), (False, True)]
