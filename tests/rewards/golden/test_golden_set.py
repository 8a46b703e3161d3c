"""The golden set is frozen, and the offline judges are held against it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.errors import ActorGone, JudgeDrift, JudgeError, JudgeGone, JudgeUnavailable, ProviderDown, StopRun
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.golden.calibration import Calibration, calibrate, check_drift, check_judges, watch_judges
from gen_searcher.rewards.golden.cases import CaseClass, GoldenSet, attempt, golden_digest, golden_set
from gen_searcher.rewards.golden.drawing import draw
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.rewards.offline.text_judge import OfflineTextJudge
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory
from gen_searcher.world.world import World

DIGEST = "996a776e9cd53405510e849872a5f14c6e148bf39153f5a3312f687c8ab09ac4"
"""Of cases.json. Whoever changes a case makes a new version and says so."""
PIXELS = "5bd9e288bf789928b683e472bd9d131ba58d2130b1de1555409addb65e171987"
"""Of every drawing, in order."""


def test_the_set_is_the_one_that_was_frozen() -> None:
    assert golden_digest() == DIGEST
    assert golden_set().version == "golden-1"
    digest = hashlib.sha256()
    for case in golden_set().cases:
        digest.update(draw(case.drawn, world=World.load(), seed=case.id).tobytes())
    assert digest.hexdigest() == PIXELS


def test_every_class_is_there_and_every_control_exists() -> None:
    cases = {case.id: case for case in golden_set().cases}
    assert len(cases) == len(golden_set().cases) == 124
    assert min(Counter(case.kind for case in cases.values()).values()) >= 8
    for case in cases.values():
        if case.kind is CaseClass.INSTRUCTIONS:
            assert case.control is not None
            control = cases[case.control]
            assert (control.asked, control.references) == (case.asked, case.references)
            assert case.gen_prompt.startswith(control.gen_prompt)
            assert case.drawn == replace(control.drawn, slogan=case.drawn.slogan)


def test_a_part_of_the_set_holds_every_class_and_the_controls() -> None:
    part = golden_set().spread(24)
    assert 24 <= len(part.cases) <= 30
    assert {case.kind for case in part.cases} == set(CaseClass)
    ids = {case.id for case in part.cases}
    assert all(case.control in ids for case in part.cases if case.control is not None)
    assert golden_set().spread(None) is golden_set()


async def test_the_offline_text_judge_agrees_with_the_set(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    found = await calibrate(OfflineTextJudge(store=store), golden_set(), store, repeats=2)
    assert found.overall.labels == 122
    assert found.overall.kappa == pytest.approx(0.9973, abs=5e-4)
    assert (found.retest, found.swap_flips, found.talked_round, found.lost) == (1.0, None, (), {})
    check_drift(found, min_kappa=0.85)


@pytest.mark.timeout(600)
async def test_the_offline_image_judge_agrees_with_the_set_but_not_on_layouts(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    found = await calibrate(OfflineImageJudge(store=store), golden_set(), store, repeats=2)
    assert found.overall.kappa == pytest.approx(0.863, abs=0.01)
    assert found.not_applicable == 1.0
    assert (found.retest, found.talked_round, found.lost) == (1.0, (), {})
    for kind in ("perfect", "wrong_text", "empty"):
        assert found.classes[kind].exact == 1.0
    # It looks for each subject in its place, so the right subject elsewhere is to it a wrong one.
    layouts = found.classes["bad_layout"]
    assert layouts.kappa is not None
    assert layouts.kappa < 0.4
    check_drift(found, min_kappa=0.85)


class Said:
    """A text judge whose scores are a function of the label."""

    name = "text"

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.labels = {f"golden/{case.id}": case.text for case in golden_set().cases}
        self.error = error
        self.shift = 0.0
        self.asked = 0

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        self.asked += 1
        if self.error is not None:
            raise self.error("planted")
        score = min(1.0, (self.labels[task.id] or 0.0) + self.shift)
        return Judgement(
            judge="text", score=score, parts={}, rationale="r", model="m", prompt_sha256="0" * 64, latency_s=0.5,
            cost_usd=0.01,
        )  # fmt: skip


PART = golden_set().spread(30)


@pytest.mark.fault(37)
async def test_a_judge_that_drifts_stops_the_run_with_code_3(tmp_path: Path) -> None:
    judge, store = Said(), ImageStore(tmp_path)
    await check_judges([judge], PART, store, min_kappa=0.85)
    judge.shift = 1.0
    with pytest.raises(JudgeDrift, match=r"kappa .* the bound is 0\.85") as caught:
        await check_judges([judge], PART, store, min_kappa=0.85)
    assert caught.value.exit_code == 3


async def test_a_judge_that_is_gone_stops_the_run_and_one_that_is_lost_is_no_grade(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    with pytest.raises(JudgeGone):
        await calibrate(Said(JudgeGone), PART, store)
    with pytest.raises(JudgeError, match="lost all"):
        await calibrate(Said(JudgeError), PART, store)


class Failing(Said):
    """Its world fails after so many verdicts."""

    def __init__(self, error: type[Exception], *, after: int) -> None:
        super().__init__()
        self.fails, self.after = error, after

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        self.error = self.fails if self.asked >= self.after else None
        return await super().judge(task, trajectory, image)


CASES = sum(case.text is not None for case in PART.cases)


@pytest.mark.fault(12)
@pytest.mark.parametrize("error", [JudgeUnavailable, ActorGone, ProviderDown])
async def test_an_outage_while_the_judges_are_watched_is_logged_and_the_run_goes_on(
    tmp_path: Path, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    store = ImageStore(tmp_path)
    for after in (0, 1, CASES // 2 - 1):
        caplog.clear()
        await watch_judges([Failing(error, after=after), Said()], PART, store, min_kappa=0.85)
        assert (
            f"the text judge lost {'all ' if after == 0 else f'{CASES - after} of '}{CASES} golden cases" in caplog.text
        )
        assert "planted; the run goes on" in caplog.text
    caplog.clear()
    await watch_judges([Failing(error, after=CASES - 1)], PART, store, min_kappa=0.85)
    assert caplog.text == "", "one case less is still a calibration"


async def test_judges_that_have_drifted_or_are_gone_end_a_run_between_steps_too(tmp_path: Path) -> None:
    judge, store = Said(), ImageStore(tmp_path)
    judge.shift = 1.0
    with pytest.raises(JudgeDrift):
        await watch_judges([judge], PART, store, min_kappa=0.85)
    with pytest.raises(JudgeGone):
        await watch_judges([Said(JudgeGone)], PART, store, min_kappa=0.85)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_run_whose_judges_are_down_before_it_begins_says_to_try_again(tmp_path: Path, after: int) -> None:
    with pytest.raises(StopRun, match=r"golden cases: .*planted\nnothing was started") as caught:
        await check_judges([Failing(ActorGone, after=after)], PART, ImageStore(tmp_path), min_kappa=0.85)
    assert caught.value.exit_code == 75


@pytest.mark.fault(31)
async def test_a_judge_that_is_talked_round_is_named_and_stopped(tmp_path: Path) -> None:
    judge, store = Said(), ImageStore(tmp_path)
    for case in PART.cases:
        if case.control is not None:
            judge.labels[f"golden/{case.id}"] = 1.0
    found = await calibrate(judge, PART, store)
    assert set(found.talked_round) == {case.id for case in PART.cases if case.control is not None}
    with pytest.raises(JudgeDrift, match="words addressed to it"):
        check_drift(replace(found, overall=replace(found.overall, kappa=1.0)), min_kappa=0.85)


class Fickle(Said):
    """Says 0 the second time, and 1 when swapped."""

    def swapped(self) -> Said:
        other = Said()
        other.shift = 1.0
        return other

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        said = await super().judge(task, trajectory, image)
        return said if self.asked <= self.cases else replace(said, score=0.0)

    cases = 0


async def test_retest_and_swap_flips_are_shares_of_cases(tmp_path: Path) -> None:
    labels = [case.text for case in PART.cases if case.text is not None]
    judge = Fickle()
    judge.cases = len(labels)
    found: Calibration = await calibrate(judge, PART, ImageStore(tmp_path), repeats=2)
    assert found.retest == pytest.approx(sum(label == 0.0 for label in labels) / len(labels))
    assert found.swap_flips == pytest.approx(sum(label != 1.0 for label in labels) / len(labels))
    assert found.cost_usd == pytest.approx(3 * 0.01 * len(labels))


def test_cases_are_drawn_with_their_labels_world(tmp_path: Path) -> None:
    case = next(case for case in golden_set().cases if case.kind is CaseClass.PERFECT and case.drawn.surface == "clean")
    golden = attempt(case, ImageStore(tmp_path))
    assert golden.image == golden.task.target
    assert isinstance(golden_set(), GoldenSet)
