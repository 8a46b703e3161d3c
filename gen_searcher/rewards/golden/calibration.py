"""A judge against the golden set: cases -> judgements -> agreement, by class and by dimension.

What is measured:

kappa          quadratic-weighted, over every label of the set; for the picture over its dimensions together
exact          share of labels met exactly
retest         share of cases judged the same when judged again
swap_flips     share of cases whose grades change when the two pictures change places; None for a judge that
               does not look at pictures side by side
not_applicable share of cases on which it is right whether text accuracy applies
talked_round   cases with words to the judge that score above their control: must be empty
lost           cases without a verdict: reported, never counted as a grade
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gen_searcher.errors import EXIT_INTERRUPTED, JudgeDrift, JudgeError, StopRun, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.rewards.golden.agreement import Graded, exact_agreement, nearest_level, weighted_kappa
from gen_searcher.rewards.golden.cases import CaseClass, GoldenAttempt, GoldenSet, attempt, golden_digest
from gen_searcher.rewards.verdict import TEXT_ACCURACY
from gen_searcher.types import Judgement

log = logging.getLogger(__name__)

IMAGE_LEVELS = (0.0, 0.5, 1.0)
TEXT_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
SCORE = "score"
"""Name of the one thing that the text judge grades."""
CONCURRENCY = 16
"""Cases judged at once."""
ENOUGH = 0.5
"""Share of the cases that must have a verdict: agreement on the few that an outage has left says nothing of the judge."""
_TOLERANCE = 1e-9


@runtime_checkable
class Swappable(Protocol):
    """A judge that compares two pictures and can be shown them the other way round."""

    def swapped(self) -> Judge:
        """The same judge with the other order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement over some cases."""

    labels: int
    """Labels compared."""
    exact: float
    kappa: float | None
    """None where all labels and verdicts are one grade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What one judge makes of the golden set."""

    judge: str
    model: str
    prompt_sha256: str
    golden_version: str
    golden_sha256: str
    cases: int
    overall: Agreement
    classes: Mapping[str, Agreement]
    dimensions: Mapping[str, Agreement]
    retest: float | None
    swap_flips: float | None
    not_applicable: float | None
    talked_round: tuple[str, ...]
    lost: Mapping[str, str]
    """Case to what went wrong."""
    cost_usd: float
    latency_s: float
    """Mean of a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    golden: GoldenAttempt
    judgement: Judgement


async def calibrate(judge: Judge, golden: GoldenSet, store: ImageStore, *, repeats: int = 1) -> Calibration:
    """Judge every case that has a label for this judge.

    Args:
        judge: An image or a text judge.
        golden: The cases.
        store: Where the judge looks for pictures; the cases' pictures are put there.
        repeats: How often each case is judged; 1 leaves `retest` and `swap_flips` out.

    Raises:
        JudgeError: Every single case was lost.
        JudgeGone: The judge will never answer.
    """
    is_image = judge.name == IMAGE
    cases = [case for case in golden.cases if (case.image if is_image else case.text is not None)]
    attempts = [attempt(case, store) for case in cases]
    lost: dict[str, str] = {}
    judged = await _judge_all(judge, attempts, lost)
    if not judged:
        raise JudgeError(f"the {judge.name} judge lost all {len(cases)} golden cases: {next(iter(lost.values()), '')}")
    again = [await _judge_all(judge, attempts, {}) for _ in range(repeats - 1)]
    swapped = None
    if repeats > 1 and isinstance(judge, Swappable):
        swapped = await _judge_all(judge.swapped(), attempts, {})
    every = [grade for one in judged for grade in _grades(one)]
    first = judged[0].judgement
    return Calibration(
        judge=judge.name,
        model=first.model,
        prompt_sha256=first.prompt_sha256,
        golden_version=golden.version,
        golden_sha256=golden_digest(),
        cases=len(judged),
        overall=_agreement([grade.pair for grade in every], is_image=is_image),
        classes=_by_class(every, is_image=is_image),
        dimensions=_by_dimension(every, is_image=is_image),
        retest=None if not again else 1.0 - _changed(judged, [one for other in again for one in other]),
        swap_flips=None if swapped is None else _changed(judged, swapped),
        not_applicable=_not_applicable(judged) if is_image else None,
        talked_round=_talked_round(judged),
        lost=lost,
        cost_usd=sum(one.judgement.cost_usd for other in (judged, *again, swapped or []) for one in other),
        latency_s=sum(one.judgement.latency_s for one in judged) / len(judged),
    )


def check_drift(calibration: Calibration, *, min_kappa: float) -> None:
    """Raise JudgeDrift for a judge that agrees less than it must, or that lets itself be talked round."""
    kappa = calibration.overall.kappa
    at = f"the {calibration.judge} judge ({calibration.model})"
    if kappa is None or kappa < min_kappa:
        raise JudgeDrift(
            f"{at} has drifted: kappa {'undefined' if kappa is None else f'{kappa:.3f}'} against the golden set "
            f"{calibration.golden_version}, the bound is {min_kappa:g} (reward.calibration.min_kappa); "
            "see `gen-searcher judge calibrate`"
        )
    if calibration.talked_round:
        raise JudgeDrift(f"{at} scores words addressed to it: {', '.join(calibration.talked_round)}")


async def check_judges(judges: Sequence[Judge], golden: GoldenSet, store: ImageStore, *, min_kappa: float) -> None:
    """Calibrate every judge once: what a driver calls before a run.

    Raises:
        JudgeDrift: A judge agrees less than it must. JudgeGone: it will never answer.
        StopRun: Exit code 75; it answered too few cases to say anything.
    """
    for judge in judges:
        lacking = await _held(judge, golden, store, min_kappa=min_kappa)
        if lacking is not None:
            raise StopRun(
                f"{lacking}\nnothing was started; run the same command again once the judge answers, or leave the check "
                "out with reward.calibration.before_run=false",
                exit_code=EXIT_INTERRUPTED,
            )


async def watch_judges(judges: Sequence[Judge], golden: GoldenSet, store: ImageStore, *, min_kappa: float) -> None:
    """Calibrate every judge once: what a driver calls between steps. One that is down now is asked the next time.

    Raises:
        JudgeDrift: A judge agrees less than it must. JudgeGone: it will never answer.
    """
    for judge in judges:
        lacking = await _held(judge, golden, store, min_kappa=min_kappa)
        if lacking is not None:
            log.warning("%s; the run goes on, and the judge is held against the golden set the next time", lacking)


async def _held(judge: Judge, golden: GoldenSet, store: ImageStore, *, min_kappa: float) -> str | None:
    """Hold the judge against the golden set; says why that was not possible, None when it was. Raises JudgeDrift."""
    try:
        calibration = await calibrate(judge, golden, store)
    except JudgeError as error:
        return error.message
    asked = calibration.cases + len(calibration.lost)
    if calibration.cases < ENOUGH * asked:
        why = next(iter(calibration.lost.values()))
        return f"the {judge.name} judge lost {len(calibration.lost)} of {asked} golden cases: {why}"
    log.info("the %s judge agrees with the golden set: kappa %.3f", judge.name, calibration.overall.kappa or 0.0)
    check_drift(calibration, min_kappa=min_kappa)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grade:
    kind: CaseClass
    dimension: str
    pair: Graded


async def _judge_all(judge: Judge, attempts: Sequence[GoldenAttempt], lost: dict[str, str]) -> list[_Judged]:
    free = asyncio.Semaphore(CONCURRENCY)

    async def one(golden: GoldenAttempt) -> _Judged | None:
        async with free:
            try:
                judgement = await judge.judge(golden.task, golden.trajectory, golden.image)
            except WorldError as error:  # a worker that dies spoils a case as a judge does that is down
                lost[golden.case.id] = str(error)
                return None
            return _Judged(golden=golden, judgement=judgement)

    found = await asyncio.gather(*(one(golden) for golden in attempts))
    return [one for one in found if one is not None]


def _grades(one: _Judged) -> list[_Grade]:
    """Label and verdict of everything that has a label and that both sides say applies."""
    case, judgement = one.golden.case, one.judgement
    if judgement.judge != IMAGE:
        label = case.text if case.text is not None else 0.0
        pair = Graded(label=label, verdict=nearest_level(judgement.score, TEXT_LEVELS))
        return [_Grade(kind=case.kind, dimension=SCORE, pair=pair)]
    found: list[_Grade] = []
    for dimension, label in case.image.items():
        verdict = judgement.parts.get(dimension)
        if label is not None and verdict is not None:
            pair = Graded(label=label, verdict=nearest_level(verdict, IMAGE_LEVELS))
            found.append(_Grade(kind=case.kind, dimension=dimension, pair=pair))
    return found


def _agreement(pairs: Sequence[Graded], *, is_image: bool) -> Agreement:
    levels = IMAGE_LEVELS if is_image else TEXT_LEVELS
    return Agreement(labels=len(pairs), exact=exact_agreement(pairs), kappa=weighted_kappa(pairs, levels))


def _by_class(grades: Sequence[_Grade], *, is_image: bool) -> dict[str, Agreement]:
    found = {kind.value: [grade.pair for grade in grades if grade.kind is kind] for kind in CaseClass}
    return {kind: _agreement(pairs, is_image=is_image) for kind, pairs in found.items() if pairs}


def _by_dimension(grades: Sequence[_Grade], *, is_image: bool) -> dict[str, Agreement]:
    names = dict.fromkeys(grade.dimension for grade in grades)
    return {
        name: _agreement([grade.pair for grade in grades if grade.dimension == name], is_image=is_image)
        for name in names
    }


def _changed(before: Sequence[_Judged], after: Sequence[_Judged]) -> float:
    """Share of judgements in `after` that grade a case differently than `before` does."""
    grades = {one.golden.case.id: [grade.pair.verdict for grade in _grades(one)] for one in before}
    both = [one for one in after if one.golden.case.id in grades]
    if not both:
        raise JudgeError("no golden case was judged twice")
    return sum(grades[one.golden.case.id] != [grade.pair.verdict for grade in _grades(one)] for one in both) / len(both)


def _not_applicable(judged: Sequence[_Judged]) -> float | None:
    said = [
        (one.golden.case.image[TEXT_ACCURACY] is None) == (one.judgement.parts.get(TEXT_ACCURACY) is None)
        for one in judged
        if TEXT_ACCURACY in one.golden.case.image
    ]
    return sum(said) / len(said) if said else None


def _talked_round(judged: Sequence[_Judged]) -> tuple[str, ...]:
    scores = {one.golden.case.id: one.judgement.score for one in judged}
    found: list[str] = []
    for one in judged:
        control = one.golden.case.control
        if control is not None and control in scores and one.judgement.score > scores[control] + _TOLERANCE:
            found.append(one.golden.case.id)
    return tuple(found)
