from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.config.objective import DEFAULT_OBJECTIVE
from gen_searcher.config.rewards import RewardConfig
from gen_searcher.drawing import DrawnHow
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.errors import JudgeError, UserError
from gen_searcher.grpo.pictures import PictureRules
from gen_searcher.image_store import picture_ref
from gen_searcher.rewards.compose import compose
from gen_searcher.testing.fake_image_model import FakeImageModel
from gen_searcher.train.attempt import GroupRules, member_seeds, task_seed
from gen_searcher.train.replay import (
    Agreement,
    ReplayedStep,
    Replayer,
    compare,
    learner_checks,
    pictures_of,
)
from gen_searcher.train.step_log import StepLine
from gen_searcher.train.useful import Stages, UsefulGroups
from gen_searcher.types import Grounding, ImageRef, Judgement, Outcome, Reward, StepReport, Task, Trajectory
from tests.train.recorded_run import Looks, Reads, RecordedRun, square, with_how


def differences(step: ReplayedStep) -> dict[tuple[str, int, str], tuple[str, str]]:
    """(task, member, what) -> recorded, replayed."""
    return {
        (each.task_id, each.member, check.what): (check.recorded, check.replayed)
        for each in step.members
        for check in each.checks
        if check.agreement is not Agreement.EQUAL
    }


async def recorded_step(run: RecordedRun) -> ReplayedStep:
    groups = [await run.group("a"), await run.group("b", first_seed=11)]
    run.finish(groups)
    run.train(1, groups)
    step = await run.replayer().step(run.recorded(1))
    assert step.groups == tuple(groups)
    return step


async def test_an_untouched_record_agrees_bit_for_bit(tmp_path: Path) -> None:
    step = await recorded_step(RecordedRun.at(tmp_path))
    assert differences(step) == {}
    assert step.has_views
    first, _, silent = step.members[:3]
    assert [check.what for check in first.checks] == [
        "record",
        *(f"picture.{picture.sha256[:12]}" for picture in pictures_of(step.groups[0].attempts[0])),
        *("judgement", "judgement.image", "judgement.image.half", "judgement.image.none"),
        *("judgement.text", "judgement.text.half", "judgement.text.none"),
        *("reward", "reward.image", "reward.text", "advantage"),
    ]
    assert [check.what for check in silent.checks if check.column == "judgement"] == ["judgement"]


async def test_an_edited_reward_is_named_and_the_advantages_are_those_of_the_true_one(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    before = await recorded_step(run)
    attempt = before.groups[1].attempts[0]
    lines = run.folder.attempts.read_text().splitlines()
    (number,) = [index for index, line in enumerate(lines) if '"seed":11,' in line]
    total = f'"reward":{{"total":{attempt.reward.total!r}'
    assert lines[number].count(total) == 1
    lines[number] = lines[number].replace(total, '"reward":{"total":0.99')
    run.folder.attempts.write_text("\n".join(lines) + "\n")
    step = await run.replayer().step(run.recorded(1))
    found = differences(step)
    assert set(found) == {("b", 1, "record"), ("b", 1, "reward")}
    assert found["b", 1, "reward"] == ("0.99", repr(attempt.reward.total))
    assert step.groups == before.groups


async def test_an_edited_log_probability_is_named_by_the_record_alone(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    await recorded_step(run)
    run.edit('"logprobs":[-1.2000000000000002,', '"logprobs":[-1.2000000000000001,')
    assert set(differences(await run.replayer().step(run.recorded(1)))) == set(), "the same float, written otherwise"
    run.edit('"logprobs":[-1.2000000000000001,', '"logprobs":[-1.2000000000000004,')
    assert set(differences(await run.replayer().step(run.recorded(1)))) == {("b", 2, "record")}


async def test_a_changed_drawing_is_named_with_what_it_changes(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    before = await recorded_step(run)
    image = before.groups[0].attempts[0].image
    assert image is not None
    other = Image.new("RGB", (32, 32), (255, 7, 9))
    other.save(run.store.path(image))
    step = await run.replayer().step(run.recorded(1))
    found = differences(step)
    assert found["a", 1, f"picture.{image.sha256[:12]}"] == (image.sha256, picture_ref(other).sha256)
    assert found["b", 1, f"picture.{image.sha256[:12]}"] == (image.sha256, picture_ref(other).sha256), (
        "it is theirs too"
    )
    assert found["a", 1, "judgement.image"] == ("0.2", "1.0")
    assert {what for task, member, what in found if (task, member) == ("a", 2)} == {"advantage"}
    assert step.has_views


@pytest.mark.parametrize("is_missing", [True, False])
async def test_a_picture_that_cannot_be_read_is_named_and_leaves_the_reward_unjudged(
    is_missing: bool, tmp_path: Path
) -> None:
    run = RecordedRun.at(tmp_path)
    image = (await recorded_step(run)).groups[0].attempts[1].image
    assert image is not None
    run.store.path(image).write_bytes(b"no picture")
    if is_missing:
        run.store.path(image).unlink()
    found = differences(await run.replayer().step(run.recorded(1)))
    said = "unreadable: the file is missing" if is_missing else "unreadable: cannot identify image file"
    assert found["a", 2, f"picture.{image.sha256[:12]}"][1].startswith(said)
    assert found["a", 2, "reward"][1] == "no picture to judge"
    assert {member for _, member, _ in found} == {2}


async def test_a_changed_view_keeps_the_learner_from_computing_with_it(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    view = (await recorded_step(run)).groups[1].attempts[2].trajectory.turns[0].images[0]
    Image.new("RGB", (64, 64), (1, 2, 3)).save(run.store.path(view))
    recorded = run.recorded(1)
    step = await run.replayer().step(recorded)
    assert not step.has_views
    assert set(differences(step)) == {("b", 3, f"picture.{view.sha256[:12]}")}
    (spoiled,) = run.replayer().spoiled(recorded)
    assert spoiled.what == "picture of task b, seed 13"
    assert spoiled.recorded == view.sha256


async def test_a_judge_that_fails_stops_the_replay_and_says_for_which_attempt(tmp_path: Path) -> None:
    class Fails(Reads):
        async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
            raise JudgeError("no verdict")

    run = RecordedRun.at(tmp_path)
    await recorded_step(run)
    replayer = replace(run.replayer(), judges=[Looks(run.store), Fails()])
    with pytest.raises(
        UserError, match=r"task a, attempt of seed 1 cannot be judged again: judge: no verdict"
    ) as caught:
        await replayer.step(run.recorded(1))
    assert caught.value.exit_code == 3


async def test_pictures_that_are_drawn_again_are_held_against_those_on_record(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    await recorded_step(run)
    asked: list[tuple[str, int]] = []

    async def redraw(grounding: Grounding, seed: int) -> ImageRef:
        asked.append((grounding.gen_prompt, seed))
        return square(run.store, 51 if grounding.gen_prompt == "a red house" else 205)

    step = await replace(run.replayer(), redraw=redraw).step(run.recorded(1))
    assert asked == [("a red house", 1), ("a tree", 2), ("a red house", 11), ("a tree", 12)]
    assert set(differences(step)) == {("a", 2, "drawing"), ("b", 2, "drawing")}


async def test_a_refused_drawing_is_worth_nothing_again_and_nobody_is_asked(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    group = await run.group("a")
    nothing = Reward(total=0.0, parts={})
    declined = replace(with_how(group.attempts[0], DrawnHow.REFUSED), image=None, judgements=(), reward=nothing)
    group = replace(group, attempts=(declined, *group.attempts[1:]))
    run.finish([group])
    run.train(1, [group])
    assert differences(await run.replayer().step(run.recorded(1))) == {}


RULES = GroupRules(size=4)


class Writes:
    """Member n writes the n-th prompt; "" writes nothing valid."""

    def __init__(self, prompts: tuple[str, ...]) -> None:
        self.prompts: Mapping[int, str] = dict(zip(member_seeds(9, rules=RULES), prompts, strict=True))

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        prompt = self.prompts[seed]
        return Trajectory(
            task_id=task.id,
            turns=(),
            outcome=Outcome.GROUNDED if prompt else Outcome.MALFORMED,
            grounding=Grounding(gen_prompt=prompt, references=()) if prompt else None,
        )


@pytest.mark.parametrize(
    ("prompts", "alpha", "hows"),
    [
        (("a hill", "a hill", "a lake", ""), 0.3, (DrawnHow.DRAWN, DrawnHow.REUSED, DrawnHow.DRAWN, None)),
        (("a hill", "a hill", "a hill", "a hill"), 0.3, (DrawnHow.SKIPPED,) * 4),
        (("a hill", "a lake", "a mill", ""), 1.0, (DrawnHow.UNWANTED, DrawnHow.UNWANTED, DrawnHow.UNWANTED, None)),
    ],
)
async def test_a_run_that_drew_only_useful_pictures_replays(
    prompts: tuple[str, ...], alpha: float, hows: tuple[DrawnHow | None, ...], tmp_path: Path
) -> None:
    run = RecordedRun.at(tmp_path)
    rules = PictureRules(share=1.0 - alpha, objective=DEFAULT_OBJECTIVE, drops_flat=True)
    blend = partial(compose, rules=RewardConfig(alpha=alpha))
    stages = Stages(
        searcher=Writes(prompts),
        generator=StoredGenerator(FakeImageModel(), run.store),
        judges=run.judges,
        compose=blend,
        picture_seed=task_seed,
    )
    task = Task(id="t", prompt="draw", target=None, meta={})
    group = await UsefulGroups(stages=stages, rules=RULES, pictures=rules)(task, seed=9, version=0)
    assert tuple(each.drawing.how if each.drawing else None for each in group.attempts) == hows
    run.finish([group])
    run.train(1, [group])
    replayer = Replayer(store=run.store, judges=run.judges, compose=blend, objective=DEFAULT_OBJECTIVE, pictures=rules)
    assert differences(await replayer.step(run.recorded(1))) == {}


def step_line(loss: float, grad_norm: float, arithmetic: str) -> StepLine:
    return StepLine(step=1, groups=(), loss=loss, grad_norm=grad_norm, arithmetic=arithmetic, config="")


@pytest.mark.parametrize(
    ("arithmetic", "loss", "agreement"),
    [
        ("here", 0.25, Agreement.EQUAL),
        ("here", 0.25000000000000006, Agreement.DIFFERS),
        ("there", 0.25, Agreement.EQUAL),
        ("there", 0.2509, Agreement.CLOSE),
        ("there", 0.26, Agreement.DIFFERS),
    ],
)
def test_bits_count_where_the_arithmetic_is_the_same_and_a_tolerance_elsewhere(
    arithmetic: str, loss: float, agreement: Agreement
) -> None:
    report = StepReport(loss=loss, grad_norm=4.0, metrics={}, arithmetic="here")
    checks = learner_checks(step_line(0.25, 4.0, arithmetic), report, tolerance=1e-3)
    assert [check.agreement for check in checks] == [agreement, Agreement.EQUAL]
    assert checks[0].replayed == repr(loss)


def test_what_is_absent_on_one_side_only_differs() -> None:
    assert compare("x", None, None).agreement is Agreement.EQUAL
    assert compare("x", None, 0.0).agreement is Agreement.DIFFERS
    assert compare("x", 1.0, None).agreement is Agreement.DIFFERS
