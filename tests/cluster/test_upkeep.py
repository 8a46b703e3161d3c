from __future__ import annotations

from gen_searcher.cluster.upkeep import Deaths


def test_deaths_are_forgiven_up_to_a_number_within_a_window() -> None:
    deaths = Deaths(most=2, window_s=100.0)
    assert deaths.rest_s(0.0) == 0.0
    deaths.note(0.0)
    deaths.note(10.0)
    assert deaths.rest_s(10.0) == 0.0
    deaths.note(30.0)
    assert deaths.rest_s(30.0) == 70.0, "until the first of three is out of the window"
    assert deaths.rest_s(101.0) == 0.0
    deaths.note(115.0)
    assert deaths.rest_s(115.0) == 0.0, "those of 30 and 115 are two; that of 10 is over"


def test_a_run_of_days_may_lose_a_worker_any_number_of_times_but_not_too_often() -> None:
    deaths = Deaths(most=3, window_s=3600.0)
    for hour in range(0, 200, 2):
        deaths.note(hour * 1200.0)
        assert deaths.rest_s(hour * 1200.0) == 0.0
    assert Deaths(most=0, window_s=60.0).rest_s(0.0) == 0.0
    never = Deaths(most=0, window_s=60.0)
    never.note(5.0)
    assert never.rest_s(6.0) == 59.0


def test_without_a_bound_nothing_rests() -> None:
    deaths = Deaths(most=None, window_s=1.0)
    for _ in range(100):
        deaths.note(0.0)
    assert deaths.rest_s(0.0) == 0.0
