from __future__ import annotations

from pathlib import Path

from gen_searcher.metrics.report.choose import choose_arm, choose_last_steps, in_turn, spread
from gen_searcher.metrics.report.read import Entry


def entry(offset: int, *, step: int = 0, group: str = "g", reward: float | None = 0.5) -> Entry:
    return Entry(
        file=Path("attempts.jsonl"),
        offset=offset,
        step=step,
        group=group,
        task_id=f"task-{offset:03d}",
        outcome="grounded" if reward is not None else "lost",
        stage="",
        reward=reward,
    )


def test_a_small_arm_is_shown_whole_best_first() -> None:
    entries = [entry(0, reward=0.25), entry(1, reward=None), entry(2, reward=0.75)]
    assert [one.offset for one in choose_arm(entries)] == [2, 0, 1]


def test_a_large_arm_shows_evenly_spaced_best_and_worst() -> None:
    entries = [entry(index, reward=index / 90) for index in range(90)]
    offsets = {one.offset for one in choose_arm(entries, limit=9)}
    assert offsets == {0, 30, 60, 87, 88, 89, 1, 2, 3}


def test_attempts_that_somebody_points_at_are_shown_beside_the_others() -> None:
    entries = [entry(index, reward=index / 90) for index in range(90)]
    offsets = [one.offset for one in choose_arm(entries, limit=9, always={45, 60, 3})]
    assert offsets == [89, 88, 87, 60, 45, 30, 3, 2, 1, 0]


def test_arms_that_ran_the_same_tasks_share_the_evenly_spaced_third() -> None:
    first = choose_arm([entry(index, reward=index / 90) for index in range(90)], limit=9)
    second = choose_arm([entry(index, reward=(index * 37 % 90) / 90) for index in range(90)], limit=9)
    assert {one.task_id for one in first} & {one.task_id for one in second} >= {"task-000", "task-030", "task-060"}


def test_the_last_steps_are_shown_in_whole_groups_latest_first() -> None:
    entries = [entry(step * 10 + n, step=step, group=f"g{n // 2}") for step in (1, 2, 3) for n in range(4)]
    assert [one.offset for one in choose_last_steps(entries, limit=7)] == [30, 31, 32, 33, 20, 21]


def test_a_group_larger_than_the_limit_is_cut() -> None:
    assert [one.offset for one in choose_last_steps([entry(n) for n in range(9)], limit=4)] == [0, 1, 2, 3]


def test_spread_starts_at_the_first_and_keeps_distances() -> None:
    assert [one.offset for one in spread([entry(n) for n in range(10)], 5)] == [0, 2, 4, 6, 8]
    assert len(spread([entry(0)], 5)) == 1


def test_sets_take_turns() -> None:
    assert in_turn([[entry(0), entry(1)], [], [entry(2)]]) == [0, 2, 0]
