from __future__ import annotations

import math
import re

import pytest

from gen_searcher.metrics.report.figures import (
    HoverLine,
    Scale,
    Series,
    bar_domain,
    difference_bar,
    difference_domain,
    interval_bar,
    line_chart,
    number,
    path,
    smoothed,
    thinned,
    ticks,
)


def series(*values: float, name: str = "reward/total") -> Series:
    return Series(name=name, steps=tuple(range(1, len(values) + 1)), values=values)


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    scale = Scale(low=0.0, high=10.0, from_px=100.0, to_px=0.0)
    assert (scale.at(0.0), scale.at(5.0), scale.at(10.0)) == (100.0, 50.0, 0.0)


def test_a_scale_of_one_value_puts_it_in_the_middle() -> None:
    assert Scale(low=3.0, high=3.0, from_px=10.0, to_px=30.0).at(3.0) == 20.0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, (0.0, 0.5, 1.0)),
        (0.0, 0.83, (0.0, 0.5, 1.0)),
        (0.21, 0.74, (0.2, 0.4, 0.6, 0.8)),
        (-0.047, 0.039, (-0.05, 0.0, 0.05)),
        (0.0, 2000.0, (0.0, 500.0, 1000.0, 1500.0, 2000.0)),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_ticks_of_a_constant_enclose_it() -> None:
    for constant in (0.0, 5.0, -2.0, 1e9):
        made = ticks(constant, constant)
        assert made[0] < constant < made[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.123456, "0.1235"), (12345.0, "12.3k"), (9.1e9, "9.1G"), (0.00012, "1.2e-04"), (math.nan, "-")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_a_long_line_becomes_means_of_equal_runs() -> None:
    thin = thinned(series(1.0, 3.0, 5.0, 7.0, math.nan, 9.0), points=3)
    assert thin.values == (2.0, 6.0, 9.0)
    assert thin.steps == (1, 3, 5)


def test_smoothing_averages_neighbours_and_keeps_gaps() -> None:
    values = smoothed((0.0, 3.0, 6.0, math.nan, 8.0), reach=1)
    assert values[:3] == (1.5, 3.0, 4.5)
    assert math.isnan(values[3])
    assert values[4] == 8.0


def test_a_path_lifts_the_pen_at_a_gap() -> None:
    assert path([(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 4.0)]) == "M0.0 1.0L1.0 2.0M3.0 4.0"


def test_a_chart_runs_from_corner_to_corner_of_its_plot() -> None:
    chart = line_chart([series(0.0, 1.0)], label="Reward")
    assert 'd="M46.0 164.0L352.0 10.0"' in chart.svg
    assert chart.lines == (
        HoverLine(
            name="reward/total", style="s0", steps=(1, 2), x_px=(46.0, 352.0), y_px=(164.0, 10.0), values=(0.0, 1.0)
        ),
    )


def test_a_chart_says_its_first_and_last_values() -> None:
    chart = line_chart([series(0.25, math.inf, 0.5)], label='<b>"Reward"')
    assert 'aria-label="&lt;b&gt;&quot;Reward&quot;. reward/total: 0.25 at step 1, 0.5 at step 3"' in chart.svg
    assert chart.lines[0].values == (0.25, None, 0.5)


def test_a_single_value_is_a_dot() -> None:
    chart = line_chart([series(0.5)], label="Reward")
    assert 'class="dot s0" cx="199.0" cy="87.0"' in chart.svg


def test_a_noisy_line_has_its_mean_before_it() -> None:
    svg = line_chart([series(*(float(index % 2) for index in range(40)))], label="Reward").svg
    assert len(re.findall(r'class="line faint s0"', svg)) == 1
    assert len(re.findall(r'class="line s0"', svg)) == 1


def test_a_chart_without_values_is_empty() -> None:
    assert line_chart([series(math.nan)], label="Reward").svg == ""


def test_an_interval_bar_ends_at_the_value_and_its_whisker_at_the_bounds() -> None:
    svg = interval_bar(0.5, 0.25, 0.75, domain=(0.0, 1.0))
    assert 'x="6" y="6" width="84.0"' in svg
    assert "M48.0 11H132.0" in svg
    assert 'aria-label="0.5, interval 0.25 to 0.75"' in svg


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 0.3, "better"), (-0.3, -0.1, "worse"), (-0.1, 0.3, "unsure")]
)
def test_a_difference_is_coloured_by_its_interval(low: float, high: float, verdict: str) -> None:
    svg = difference_bar((low + high) / 2, low, high, domain=(-0.5, 0.5))
    assert f'class="dot {verdict}"' in svg
    assert 'class="zero" d="M90.0 1V21"' in svg


def test_domains_hold_all_values() -> None:
    assert bar_domain([0.2, 0.9]) == (0.0, 1.0)
    assert bar_domain([31.5]) == (0.0, 100.0)
    assert difference_domain([-0.02, 0.44]) == (-0.5, 0.5)
    assert difference_domain([]) == (-1.0, 1.0)
