"""Policies by generators, from rows that `make_table` would have made."""

from __future__ import annotations

import pytest

from gen_searcher.bench.matrix import cell, pairs, render
from gen_searcher.bench.table import make_table
from tests.bench.test_table import attempt, group, parts

ARMS, GENERATORS = ("sft", "sft+grpo"), ("own", "other")


def test_each_generator_is_held_against_the_first_and_then_each_policy_against_the_one_before() -> None:
    assert pairs(ARMS, GENERATORS, between_arms=True) == [
        ("sft @ other", "sft @ own"),
        ("sft+grpo @ other", "sft+grpo @ own"),
        ("sft+grpo @ own", "sft @ own"),
        ("sft+grpo @ other", "sft @ other"),
    ]
    assert pairs(ARMS, GENERATORS, between_arms=False) == pairs(ARMS, GENERATORS, between_arms=True)[:2]


def test_a_policy_is_a_row_and_a_generator_a_column_with_what_lies_between() -> None:
    level = {"sft @ own": 0.5, "sft @ other": 0.25, "sft+grpo @ own": 0.75}
    groups = {
        name: [group(f"t{n}", attempt(f"t{n}", parts(k, k, k, k))) for n in range(4)] for name, k in level.items()
    }
    groups[cell("sft+grpo", "other")] = [group("t0", lost=1)]
    table = make_table(groups, seed=0, pairs=pairs(ARMS, GENERATORS, between_arms=True))
    head, _, *rows = render(table, arms=ARMS, settings=GENERATORS).splitlines()
    assert head.split() == ["policy", "own", "other", "other", "-", "own"]
    assert rows[0].split("  ")[0] == "sft"
    assert " ".join(rows[0].split()) == "sft 50.00 [50.00, 50.00] 25.00 [25.00, 25.00] -25.00 [-25.00, -25.00]"
    assert " ".join(rows[1].split()) == "sft+grpo 75.00 [75.00, 75.00] - -", "all its tries on that generator were lost"
    assert len({len(line) for line in (head, *rows)}) == 1


def test_the_difference_is_paired_over_tasks_and_not_a_difference_of_intervals() -> None:
    spread = [0.1 * n for n in range(10)]
    groups = {
        cell("sft", generator): [
            group(f"t{n}", attempt(f"t{n}", parts(k + less, k + less, k + less, k + less)))
            for n, k in enumerate(spread)
        ]
        for generator, less in (("own", 0.1), ("other", 0.0))
    }
    table = make_table(groups, seed=0, pairs=pairs(["sft"], GENERATORS, between_arms=False))
    (found,) = table["paired"]
    assert (found["low"], found["difference"], found["high"]) == pytest.approx((-10.0, -10.0, -10.0))
    first = table["arms"][0]
    assert first["low"] is not None
    assert first["high"] is not None
    assert first["high"] - first["low"] > 20
