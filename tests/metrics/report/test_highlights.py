from __future__ import annotations

from pathlib import Path

from gen_searcher.metrics.report.choose import EntrySet
from gen_searcher.metrics.report.highlights import COUNT, highlights
from gen_searcher.metrics.report.read import Entry


def entry(task: str, reward: float | None, *, offset: int = 0, step: int = 0) -> Entry:
    return Entry(
        file=Path("a"), offset=offset, step=step, group="g", task_id=task,
        outcome="lost" if reward is None else "grounded", stage="", reward=reward,
    )  # fmt: skip


def owner(name: str, *entries: Entry, is_training: bool = False, run: str = "") -> EntrySet:
    return EntrySet(name=name, is_training=is_training, all=entries, chosen=(), run=run)


def test_best_and_worst_are_of_the_whole_training_one_per_task_and_never_lost() -> None:
    tries = [
        entry("a", 0.9, offset=1),
        entry("a", 0.8, offset=2),
        entry("b", 0.5, offset=3),
        entry("c", None, offset=4),
    ]
    seen = highlights([owner("base", entry("z", 1.0)), owner("GRPO", *tries, is_training=True)])
    assert [one.entry.offset for one in seen.best] == [1, 3]
    assert [one.entry.offset for one in seen.worst] == [3, 2]


def test_no_more_than_a_row_of_each() -> None:
    seen = highlights([owner("GRPO", *(entry(f"t{n}", n / 20, offset=n) for n in range(20)), is_training=True)])
    assert [one.entry.offset for one in seen.best] == list(range(19, 19 - COUNT, -1))
    assert len(seen.worst) == COUNT


def test_changes_are_between_the_first_and_the_last_arm() -> None:
    before = owner("base", entry("a", 0.1, offset=1), entry("b", 0.9, offset=2), entry("c", 0.5, offset=3))
    after = owner("grpo", entry("a", 0.4, offset=4), entry("b", 0.2, offset=5), entry("c", 0.5, offset=6))
    seen = highlights([before, owner("sft", entry("a", 1.0)), after])
    assert [(one.before.entry.offset, one.after.entry.offset) for one in seen.changed] == [(2, 5), (1, 4)]
    assert seen.what_changed == "from base to grpo"
    assert round(seen.changed[0].difference, 6) == -0.7


def test_a_training_alone_compares_a_tasks_first_and_last_visit_by_their_medians() -> None:
    first = [entry("a", reward, offset=n, step=1) for n, reward in enumerate((0.0, 0.2, 1.0))]
    last = [entry("a", reward, offset=10 + n, step=7) for n, reward in enumerate((0.9, 0.6, 0.1))]
    once = entry("b", 0.3, offset=20, step=7)
    seen = highlights([owner("GRPO", *first, *last, once, is_training=True)])
    assert [(one.before.entry.offset, one.after.entry.offset) for one in seen.changed] == [(1, 11)]


def test_two_runs_are_compared_arm_by_arm() -> None:
    ours = owner("grpo", entry("a", 0.9, offset=1), run="new")
    theirs = [owner("grpo", entry("a", 0.4, offset=2), run="old"), owner("other", entry("a", 0.0), run="old")]
    (change,) = highlights([ours], other=theirs).changed
    assert (change.before.owner.run, change.before.entry.offset, change.after.entry.offset) == ("old", 2, 1)


def test_nothing_comes_of_nothing() -> None:
    assert highlights([]).marked == ()
