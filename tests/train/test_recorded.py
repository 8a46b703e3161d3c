from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.errors import UserError
from gen_searcher.train.recorded import Route, route_to, states, step_lines
from tests.train.recorded_run import REPORT, RecordedRun


@pytest.mark.parametrize(
    ("step", "state", "steps"), [(1, 0, (1,)), (11, 10, (11,)), (13, 10, (11, 12, 13)), (9, 0, tuple(range(1, 10)))]
)
def test_the_way_to_a_step_starts_at_the_nearest_state_before_it(step: int, state: int, steps: tuple[int, ...]) -> None:
    assert route_to(step, kept=[0, 10, 20], recorded=range(1, 25)) == Route(state=state, steps=steps)


def test_a_step_that_cannot_be_replayed_is_answered_with_those_that_can() -> None:
    with pytest.raises(UserError) as caught:
        route_to(12, kept=[10, 20], recorded=[5, 11, 13, 21, 22, 23, 25])
    assert "step 12 cannot be replayed" in str(caught.value)
    assert "of this run: 11, 21-23." in str(caught.value)
    with pytest.raises(UserError, match="none of this run"):
        route_to(3, kept=[10], recorded=[3])


async def test_a_gap_in_the_record_is_passed_from_a_later_state_only() -> None:
    assert route_to(5, kept=[0, 3], recorded=[1, 4, 5]) == Route(state=3, steps=(4, 5))
    with pytest.raises(UserError, match="Steps that can be replayed: of this run: 1, 4-5"):
        route_to(2, kept=[0, 3], recorded=[1, 4, 5])


async def test_steps_that_a_resumed_run_made_anew_count_as_made_last(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    groups = [await run.group("a")]
    for step, loss in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)):
        run.train(step, groups, replace(REPORT, loss=loss))
    assert {step: line.loss for step, line in step_lines(run.folder).items()} == {1: 0.1, 2: 0.25}


def test_states_are_the_start_and_the_checkpoints_up_to_the_latest(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    assert states(run.folder) == []
    run.folder.policy("sft").mkdir(parents=True)
    (run.folder.policy("sft") / "config.json").write_text("{}")
    for step in (10, 20, 30):
        run.folder.checkpoints.folder(step).mkdir(parents=True)
    (run.folder.checkpoints.path / "latest").write_text("step-20\n")
    assert states(run.folder) == [0, 10, 20]


async def test_groups_come_in_the_order_in_which_they_were_trained_on(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    first, second, third = [await run.group(name, first_seed=seed) for name, seed in (("a", 1), ("b", 11), ("a", 21))]
    run.finish([second, third, first])
    run.train(1, [first, second, third])
    recorded = run.recorded(1)
    assert [group.as_trained() for group in recorded.groups] == [first, second, third]
    assert recorded.groups[2].members[1].advantage == pytest.approx(0.70, abs=0.3)


async def test_of_two_attempts_with_one_seed_the_one_that_was_trained_on_is_taken(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    trained = await run.group("a")
    other = replace(trained, attempts=tuple(replace(each, judgements=()) for each in trained.attempts))
    run.finish([other, trained, other])
    run.train(1, [trained])
    assert run.recorded(1).groups[0].as_trained() == trained


async def test_a_missing_attempt_is_named(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    group = await run.group("a")
    run.finish([group])
    run.train(1, [replace(group, attempts=(replace(group.attempts[0], seed=77),))])
    with pytest.raises(UserError, match=r"no attempt at task a of seed 77, which step 1 trained on"):
        run.recorded(1)


async def test_a_line_that_a_killed_run_left_half_is_said_when_it_is_missed(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    group = await run.group("a")
    run.finish([group])
    run.train(1, [group])
    text = run.folder.attempts.read_bytes()
    run.folder.attempts.write_bytes(text[:-100])
    with pytest.raises(UserError, match=r"seed 3, .* the last line \(3\) is not complete"):
        run.recorded(1)
