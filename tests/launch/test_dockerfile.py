"""The images' files can be carried out here: what they copy is there, their lines parse, and nobody in them is root."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.launch.clean_root import BASE, debian_with_python
from tests.launch.dockerfile import Stage, read
from tests.launch.image import ignoring, packages_of
from tests.test_support import TABLE

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
SMALL = """\
# A comment.
ARG BASE=one:1

FROM ${BASE} AS build
ARG SPEED="" COLOUR=red
# Of the next line.
RUN first \\
    # Between two halves.
    && second
FROM two
ENV A=1 B=$A:"2 3"
"""


def test_a_step_is_one_line_and_belongs_to_its_stage() -> None:
    build, last = read(SMALL)
    assert (build.base, build.name, last.base, last.name) == ("one:1", "build", "two", "")
    assert [(step.word, step.rest) for step in build.steps][1:] == [("RUN", "first && second")]
    assert build.steps[0].pairs == {"SPEED": "", "COLOUR": "red"}
    assert last.steps[0].pairs == {"A": "1", "B": "$A:2 3"}


def test_an_argument_of_the_build_stands_above_the_default_of_the_file() -> None:
    build, _ = read(SMALL, arguments={"BASE": "three", "COLOUR": "blue and green"})
    assert build.base == "three"
    assert build.steps[0].pairs == {"SPEED": "", "COLOUR": "blue and green"}


@pytest.mark.parametrize("text", ["FROM a\nHEALTHCHECK NONE\n", "RUN before-any-stage\n"])
def test_what_it_does_not_understand_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        read(text)


def test_what_a_context_ignores_is_named_at_its_top_or_anywhere(tmp_path: Path) -> None:
    ignore = ignoring(tmp_path, ["runs", "**/__pycache__"])
    names = ["runs", "__pycache__", "code"]
    assert ignore(str(tmp_path), names) == {"runs", "__pycache__"}
    assert ignore(str(tmp_path / "code"), names) == {"__pycache__"}


def test_what_pip_is_told_on_this_machine_is_told_in_the_root_and_its_folders_are_shown(tmp_path: Path) -> None:
    index, wheels = tmp_path / "index" / "simple", tmp_path / "wheels"
    for folder in (index, wheels):
        folder.mkdir(parents=True)
    found = packages_of(
        f":env:.no-index='1'\nglobal.extra-index-url='{index.as_uri()} https://packages.invalid/simple'\n"
        f"global.no-index='0'\ninstall.find-links='{wheels} /not/there'\n"
    )
    assert found.settings == {
        "PIP_EXTRA_INDEX_URL": f"{index.as_uri()} https://packages.invalid/simple",
        "PIP_FIND_LINKS": f"{wheels} /not/there",
        "PIP_NO_INDEX": "1",
    }
    assert found.shown == (tmp_path / "index", wheels)


def test_an_image_without_a_stand_in_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stand-in for alpine:3"):
        debian_with_python("alpine:3", tmp_path)


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def stages(request: pytest.FixtureRequest) -> list[Stage]:
    path: Path = request.param
    return read(path.read_text())


def test_there_are_two_images() -> None:
    assert [path.name for path in FILES] == ["cpu.Dockerfile", "train.Dockerfile"]


def test_what_an_image_copies_is_in_the_context(stages: list[Stage]) -> None:
    names = {stage.name for stage in stages}
    ignore = ignoring(ROOT, (ROOT / ".dockerignore").read_text().split())
    copies = [shlex.split(step.rest)[:-1] for stage in stages for step in stage.steps if step.word == "COPY"]
    assert len(copies) == 7
    for first, *others in copies:
        if first.startswith("--from="):
            assert first.removeprefix("--from=") in names
            continue
        for source in (first, *others):
            assert (ROOT / source).exists(), source
            assert not ignore(str(ROOT), [source.partition("/")[0]]), source


def test_every_shell_line_of_an_image_parses(stages: list[Stage]) -> None:
    lines = [step.rest for stage in stages for step in stage.steps if step.word == "RUN"]
    assert len(lines) == 3
    for line in lines:
        parsed = subprocess.run(["sh", "-n", "-c", line], capture_output=True, text=True, timeout=30, check=False)
        assert (parsed.returncode, parsed.stderr) == (0, ""), line


def test_both_stages_can_begin_with_an_image_of_one_digest() -> None:
    digest = f"python@sha256:{'0' * 64}"
    for path in FILES:
        assert {stage.base for stage in read(path.read_text(), arguments={"PYTHON_IMAGE": digest})} == {digest}


def test_an_image_has_the_trackers_and_never_what_only_tests_need(stages: list[Stage]) -> None:
    build, _ = stages
    arguments = {name: value for step in build.steps if step.word == "ARG" for name, value in step.pairs.items()}
    assert arguments["EXTRAS"] == "trackers"
    (install,) = [step.rest for step in build.steps if step.word == "RUN" and "EXTRAS" in step.rest]
    before = build.steps[: [step.rest for step in build.steps].index(install)]
    copied = [word for step in before if step.word == "COPY" for word in shlex.split(step.rest)]
    assert "launch/constraints-trackers.txt" in copied
    assert "launch/constraints-dev.txt" not in copied


@pytest.mark.parametrize("extras", ["trackers", ""])
def test_what_the_build_argument_names_is_what_is_asked_for(stages: list[Stage], extras: str, tmp_path: Path) -> None:
    (install,) = [step.rest for step in stages[0].steps if step.word == "RUN" and "EXTRAS" in step.rest]
    for name, text in {
        "launch/setup.sh": 'echo "$GEN_SEARCHER_EXTRAS"',
        "bin/python": "mkdir -p .venv/bin; printf '#!/bin/sh\\necho \"$@\"\\n' >.venv/bin/pip; chmod +x .venv/bin/pip",
    }.items():
        stand_in = tmp_path / name
        stand_in.parent.mkdir()
        stand_in.write_text(f"#!/bin/sh\n{text}\n")
        stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "EXTRAS": extras, "GEN_SEARCHER_TORCH_INDEX": ""}
    done = subprocess.run(
        ["sh", "-c", install], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("trackers" in done.stdout) == bool(extras)


def test_both_stages_have_the_python_that_the_suite_runs_on_and_the_last_ends_as_a_user(stages: list[Stage]) -> None:
    (python,) = [line.version for line in TABLE if line.what == "Python"]
    found = [BASE.fullmatch(stage.base) for stage in stages]
    assert [base and base["python"] for base in found] == [python, python]
    words = [step.word for step in stages[-1].steps]
    (user,) = [step.rest for step in stages[-1].steps if step.word == "USER"]
    assert user == "searcher"
    assert "RUN" not in words[words.index("USER") :], "what is installed is root's, and the user cannot change it"
