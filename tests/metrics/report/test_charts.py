from __future__ import annotations

import math
from pathlib import Path

from gen_searcher.metrics.report.charts import by_size, outcome_series, stage
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import Entry


def series(name: str, *values: float) -> Series:
    return Series(name=name, steps=tuple(range(1, len(values) + 1)), values=values)


def test_numbers_of_one_topic_share_a_chart_and_strangers_get_their_own() -> None:
    numbers = [
        series("learn/loss", 1.0), series("reward/total", 0.5), series("reward/std", 0.25), series("time_s", 5.0),
        series("cluster/reward_workers", 1.0), series("step/learn_s", 4.0), series("step/rollout_s", 9.0), series("machine/memory_bytes", 9e9),
    ]  # fmt: skip
    made = stage("grpo", title="GRPO", series=numbers)
    assert {panel.title: [line.name for line in panel.lines] for panel in made.panels} == {
        "Reward": ["reward/total"],
        "Spread of rewards": ["reward/std"],
        "Workers": ["cluster/reward_workers"],
        "Loss": ["learn/loss"],
        "Step time, split": ["step/learn_s", "step/rollout_s"],
    }
    assert [panel.title for panel in made.others] == ["machine/memory_bytes"]


def test_a_small_line_is_not_flattened_by_a_large_one() -> None:
    groups = by_size([series("a", 1000.0), series("b", 0.5), series("c", 0.1), series("zero", 0.0)])
    assert [[one.name for one in group] for group in groups] == [["a"], ["b", "c", "zero"]]


def test_a_chart_holds_six_lines() -> None:
    assert [len(group) for group in by_size([series(str(n), 1.0) for n in range(8)])] == [6, 2]


def test_numbers_that_are_never_finite_are_not_drawn() -> None:
    made = stage("sft", title="SFT", series=[series("learn/loss", math.nan)])
    assert (made.panels, made.others) == ((), ())


def test_outcomes_are_shares_of_all_attempts_of_a_step() -> None:
    def entry(step: int, outcome: str) -> Entry:
        return Entry(
            file=Path("a"), offset=0, step=step, group="g", task_id="t", outcome=outcome, stage="", reward=None
        )

    made = outcome_series([entry(1, "grounded"), entry(1, "lost"), entry(2, "grounded")])
    assert {one.name: (one.steps, one.values) for one in made} == {
        "outcome/grounded_frac": ((1, 2), (0.5, 1.0)),
        "outcome/lost_frac": ((1, 2), (0.5, 0.0)),
    }
