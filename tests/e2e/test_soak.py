"""Two hours of the laptop experiment, in which a process of it is killed every minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.soak import measure, parser

pytestmark = [pytest.mark.hours, pytest.mark.timeout(4 * 3600)]


def test_two_hours_of_kills_lose_nothing_leak_nothing_and_repeat_every_step_of_an_undisturbed_run(
    tmp_path: Path,
) -> None:
    settings = ["experiment=laptop", "grpo.checkpoint_every_steps=3"]
    figures = measure(parser().parse_args([*settings, "--folder", str(tmp_path / "soak")]))
    assert sum(figures["kills"].values()) >= 60, figures
    assert figures["done"] >= 1, figures
    assert figures["equal_steps"] == 1.0, figures
    nothing = ("lost", "twice", "hangs", "orphans", "left_folders")
    assert {name: figures[name] for name in nothing} == dict.fromkeys(nothing, 0)
    assert (figures["growth_mib_per_h"] or 0.0) < 100.0, figures
    assert (figures["growth_files"] or 0) < 50, figures
