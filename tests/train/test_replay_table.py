from __future__ import annotations

from dataclasses import replace

from gen_searcher.train.replay import MemberChecks, compare, compare_words
from gen_searcher.train.replay_table import ReplayTable, StepNumbers

MEMBER = MemberChecks(
    task_id="train-00017",
    member=1,
    seed=42,
    checks=(
        compare_words("record", "aa", "aa"),
        compare_words("picture.1", "aa", "aa"),
        compare_words("picture.2", "bb", "bb"),
        compare("reward", 0.5, 0.5),
        compare("reward.text", 0.25, 0.25),
        compare("advantage", -0.5, -0.5),
    ),
)
STEP = StepNumbers(step=2, checks=(compare("loss", 0.25, 0.25), compare("grad_norm", 1.5, 1.5)), arithmetic=None)
EARLIER = replace(STEP, step=1)


def table(member: MemberChecks = MEMBER, *numbers: StepNumbers) -> ReplayTable:
    return ReplayTable(state="the policy after sft", members=(member,), numbers=numbers or (EARLIER, STEP))


def test_a_step_that_agrees_is_a_table_with_its_numbers() -> None:
    assert table().agrees
    assert str(table()).splitlines() == [
        "step  task         member  seed  record  picture  reward  advantage",
        "2     train-00017  1       42    = 1     = 2      = 0.5   = -0.5",
        "",
        "step  loss    gradient norm",
        "1     = 0.25  = 1.5",
        "2     = 0.25  = 1.5",
        "from the policy after sft",
        "",
        "everything agrees",
    ]


def test_what_differs_is_named_with_step_task_member_and_both_values() -> None:
    checks = (*MEMBER.checks[:3], compare("reward", 0.9, 0.5), *MEMBER.checks[4:])
    found = table(replace(MEMBER, checks=checks))
    assert not found.agrees
    lines = str(found).splitlines()
    assert "differs 1 of 2" in lines[1]
    assert lines[-2:] == ["step 2, task train-00017, member 1, reward: recorded 0.9, replayed 0.5", "one thing differs"]


def test_a_step_on_the_way_counts_as_well() -> None:
    wrong = replace(EARLIER, checks=(*EARLIER.checks, compare_words("record of task a, seed 3", "aa", "bb")))
    found = table(MEMBER, wrong, STEP)
    assert not found.agrees
    assert "step 1, record of task a, seed 3: recorded aa, replayed bb" in str(found)


def test_close_numbers_of_another_arithmetic_agree_and_are_called_close() -> None:
    close = StepNumbers(
        step=2,
        checks=(compare("loss", 0.25, 0.250001, tolerance=1e-3), compare("grad_norm", 1.5, 1.5)),
        arithmetic="the run computed elsewhere",
    )
    found = table(MEMBER, close)
    assert found.agrees
    assert "2     close 0.25 (here 0.250001)  = 1.5" in str(found)
    assert "the run computed elsewhere" in str(found)
