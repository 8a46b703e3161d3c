"""The figures of conf/cluster/README.md are what the commands on that page print today."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gen_searcher import cli
from gen_searcher.commands.ending import MEANINGS, Ending
from gen_searcher.config import memory
from gen_searcher.config.load import load
from gen_searcher.plan import simulate
from gen_searcher.train import attempt
from gen_searcher.types import Attempt

PAGE = (Path(__file__).parent.parent / "conf" / "cluster" / "README.md").read_text()
NUMBER = re.compile(r"-?\d+(?:\.\d+)?%?")
DRIFT = 0.02
"""Share by which a forecast may differ from the page: its random numbers are numpy's."""
POLICY_WEIGHTS = 8_800_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A command of the page with what the page says it prints."""

    command: str
    lines: tuple[str, ...]


def shown() -> Iterator[Shown]:
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for part in block.split("$ gen-searcher ")[1:]:
            command, *lines = part.rstrip("\n").splitlines()
            yield Shown(command=command, lines=tuple(lines))


SHOWN = list(shown())
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("| ").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `cluster=") and line.count("|") == 8
]


def near(found: str, page: str) -> bool:
    """The same up to the page's last digit, or up to the drift."""
    digits = len(page.partition(".")[2])
    return abs(float(found) - float(page)) <= max(DRIFT * abs(float(page)), 1.01 * 10.0**-digits)


def same(line: str, page: str) -> bool:
    """Counts are equal; what is measured, with a decimal point or in per cent, is near."""
    if NUMBER.sub("#", line) != NUMBER.sub("#", page):
        return False
    both = zip(NUMBER.findall(line), NUMBER.findall(page), strict=True)
    return all(now == told or (not told.isdecimal() and near(now.strip("%"), told.strip("%"))) for now, told in both)


@pytest.mark.parametrize("told", SHOWN, ids=lambda told: told.command.replace("experiment=paper_8b", "").strip())
def test_a_command_of_the_page_prints_what_the_page_says(
    told: Shown, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)  # no cluster: doctor shows its sums all the same
    cli.run([*told.command.split(), f"run_dir={tmp_path}"])
    printed = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(printed) if same(line, told.lines[0]))
    for line, page in zip(printed[start : start + len(told.lines)], told.lines, strict=True):
        assert same(line, page), f"{line!r} is printed, {page!r} is on the page"


def test_the_page_shows_the_sums_of_8_16_and_32_gpus() -> None:
    assert [re.findall(r"(\d+) GPUs", told.lines[-1]) for told in SHOWN if told.command.startswith("doctor")] == [
        ["8"],
        ["16"],
        ["32"],
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_of_the_forecasts_is_what_plan_says(row: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    settings, *figures = row
    assert cli.run(["plan", "experiment=paper_8b", *settings.split()]) == 0
    out = capsys.readouterr().out
    found = re.search(
        r"\((\d+) GPUs\).*\n.* ([\d.]+) s, ([\d.]+) steps/h\n.*waits for: (.*)\n(?:.*\n)*.* ([\d.]+) USD a step", out
    )
    assert found is not None
    gpus, step_s, per_hour, waits_for, usd = found.groups()
    assert (gpus, waits_for) == (figures[0], figures[4])
    for now, page in zip((step_s, per_hour, usd), figures[1:4], strict=True):
        assert near(now, page), f"{now} now, {page} on the page"
    steps = load(["experiment=paper_8b"]).grpo.steps
    assert f"{steps} steps [h]" in PAGE
    assert near(f"{float(step_s) * steps / 3600:.1f}", figures[5])


def test_the_forecasts_cover_8_16_and_32_gpus_as_shipped_and_as_proposed() -> None:
    assert [row[1] for row in ROWS] == ["8", "8", "16", "16", "32", "32"]


@pytest.mark.parametrize(
    ("choice", "longest_min"), [("one_node", 12), ("many_nodes", 12), ("colocated grpo.max_staleness=0", 5)]
)
def test_the_deadline_of_a_shipped_shape_is_three_times_what_its_longest_attempts_take(
    choice: str, longest_min: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    took_s: list[float] = []

    async def timed(*args: Any, **parts: Any) -> Attempt:
        begun_s = asyncio.get_running_loop().time()
        made = await attempt.run_attempt(*args, **parts)
        took_s.append(asyncio.get_running_loop().time() - begun_s)
        return made

    monkeypatch.setattr(simulate, "run_attempt", timed)
    settings = ["experiment=paper_8b", *f"cluster={choice}".split()]
    assert cli.run(["plan", *settings]) == 0
    assert len(took_s) > 500
    assert round(max(took_s) / 60) == longest_min
    assert 3.0 < load(settings).cluster.call_timeout_s / max(took_s) < 4.0


def test_the_memory_of_the_learner_is_what_the_arithmetic_says() -> None:
    optim = load(["experiment=paper_8b"]).grpo.optim
    each = {ranks: memory.learner_rank(POLICY_WEIGHTS, optim, ranks=ranks).device / 2**30 for ranks in (2, 4, 8)}
    said = re.search(r"([\d.]+) GiB on each of 2 ranks, ([\d.]+) on 4\s+and ([\d.]+) on 8", PAGE)
    assert said is not None
    assert said.groups() == tuple(f"{gib:.1f}" for gib in each.values())


def test_the_last_line_on_the_page_is_the_real_one() -> None:
    (line,) = re.findall(r"```json\n\s*(.*)\n\s*```", PAGE)
    ending = Ending(command="grpo", run_dir=Path("/shared/runs/one"), exit_code=75)
    assert json.loads(line) == json.loads(ending.line())
    assert json.loads(line)["meaning"] == MEANINGS[75]


def test_a_figure_that_drifted_away_or_a_count_that_changed_is_seen() -> None:
    assert same("5 workers, 312.6 s, idle -0%", "5 workers, 309.9 s, idle 1%")
    assert not same("5 workers, 312.6 s", "6 workers, 312.6 s")
    assert not same("5 workers, 312.6 s", "5 workers, 290.0 s")
    assert not same("idle 98%", "idle 90%")
    assert not same("5 workers", "5 engines")
