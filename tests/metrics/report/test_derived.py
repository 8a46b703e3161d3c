from __future__ import annotations

from pathlib import Path

from gen_searcher.metrics.report.derived import failure_series, spend_line, spend_series, throughput_series
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import Entry


def entry(step: int, outcome: str) -> Entry:
    return Entry(file=Path("a"), offset=0, step=step, group="g", task_id="t", outcome=outcome, stage="", reward=None)


def series(name: str, steps: tuple[int, ...], *values: float) -> Series:
    return Series(name=name, steps=steps, values=values)


def test_the_policys_failures_are_apart_from_the_worlds() -> None:
    tries = [entry(1, "grounded"), entry(1, "malformed"), entry(1, "lost"), entry(1, "lost"), entry(2, "grounded")]
    assert {one.name: (one.steps, one.values) for one in failure_series(tries)} == {
        "failed/policy_frac": ((1, 2), (0.25, 0.0)),
        "failed/world_frac": ((1, 2), (0.5, 0.0)),
    }
    assert failure_series([]) == ()


def test_throughput_counts_scored_attempts_between_two_steps_and_skips_a_clock_that_starts_anew() -> None:
    clock = series("time_s", (1, 2, 3, 4), 10.0, 40.0, 5.0, 65.0)
    tries = [entry(step, "grounded") for step in (1, 2, 2, 2, 3, 4)] + [entry(2, "lost")]
    (made,) = throughput_series([clock], tries)
    assert (made.name, made.steps, made.values) == ("rollout/attempts_per_min", (2, 4), (6.0, 1.0))
    assert throughput_series([], tries) == ()


def test_spend_adds_up_over_steps_and_payees() -> None:
    costs = [series("tool/cost_usd", (1, 2), 0.5, 0.25), series("judge/cost_usd", (2,), 1.0)]
    (made,) = spend_series([*costs, series("reward/mean", (1, 2), 9.0, 9.0)])
    assert (made.name, made.steps, made.values) == ("spend/so_far_usd", (1, 2), (0.5, 1.75))
    assert spend_line(costs) == "Spend: 1.75 USD (tools 0.75 USD, judges 1.00 USD)."
    looks = [series("picture/cost_usd", (1,), 0.0), series("look/cost_usd", (1,), 0.12)]
    assert spend_line(looks) == "Spend: 0.12 USD (looks 0.12 USD)."
    assert spend_line([series("tool/cost_usd", (1,), 0.0)]).startswith("Spend: nothing was paid")
    assert (spend_series([]), spend_line([])) == ((), "")
