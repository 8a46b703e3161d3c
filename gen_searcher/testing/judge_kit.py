"""The conformance kit for judges: a plug -> named cases -> what is wrong with it.

    results = await check_judge(plug, store)          # or: gen-searcher judge check my_pkg:MyJudge
    assert all(result.problem is None for result in results), report(results)

The judge is built from its plug and asked about attempts of the golden set, whose scores are known. A judge that asks
a model needs that model to be reachable.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import pickle
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import cast

from PIL import Image

from gen_searcher.config.plug import Plug
from gen_searcher.errors import JudgeError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import IMAGE, TEXT
from gen_searcher.rewards.golden.cases import CaseClass, GoldenAttempt, attempt, golden_set
from gen_searcher.rewards.verdict import TEXT_ACCURACY, WEIGHTS, k_score
from gen_searcher.tools.limited import close
from gen_searcher.types import ImageRef, Judgement

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOLERANCE = 1e-6


class Nonconforming(Exception):
    """What the judge did wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case of the kit."""

    name: str
    problem: str | None
    """None when the judge conforms."""


class Bench:
    """The judge under test and golden attempts to ask it about."""

    def __init__(self, plug: Plug, judge: Judge, store: ImageStore) -> None:
        """`store` is the one that the judge was built with."""
        self.plug = plug
        self.judge = judge
        self.store = store
        self._cases = golden_set().cases

    @property
    def is_image(self) -> bool:
        """Whether the picture is judged, or the grounding."""
        return self.judge.name == IMAGE

    def first(self, kind: CaseClass, *, with_caption: bool = True) -> GoldenAttempt:
        """The first case of a class that has a label for this judge."""
        for case in self._cases:
            has_label = bool(case.image) if self.is_image else case.text is not None
            if case.kind is kind and has_label and (case.asked.caption is not None) == with_caption:
                return attempt(case, self.store)
        raise ValueError(f"the golden set has no case of class {kind}")

    def attempts(self, kind: CaseClass) -> list[GoldenAttempt]:
        """All cases of a class."""
        return [attempt(case, self.store) for case in self._cases if case.kind is kind]

    def named(self, case_id: str) -> GoldenAttempt:
        """One case."""
        return attempt(next(case for case in self._cases if case.id == case_id), self.store)

    async def ask(self, golden: GoldenAttempt) -> Judgement:
        """The judge's verdict."""
        return await self.judge.judge(golden.task, golden.trajectory, golden.image)

    async def perfect(self) -> Judgement:
        """The verdict on an attempt that is right."""
        return await self.ask(self.first(CaseClass.PERFECT))


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise Nonconforming(problem)


async def takes_the_keyword_store(bench: Bench) -> None:
    """The plug binds with what the program injects."""
    bench.plug.check(("store",), at="judge")


async def has_a_name_that_the_reward_knows(bench: Bench) -> None:
    """`name` is what `compose` blends by."""
    _require(bench.judge.name in (IMAGE, TEXT), f"name is {bench.judge.name!r}; the reward knows 'image' and 'text'")


async def judges_asynchronously(bench: Bench) -> None:
    """`judge` is a coroutine function."""
    _require(inspect.iscoroutinefunction(bench.judge.judge), "judge must be `async def`")


async def gives_a_judgement_under_its_own_name(bench: Bench) -> None:
    """The reward finds the verdict by this name."""
    said = (await bench.perfect()).judge
    _require(said == bench.judge.name, f"the judgement is named {said!r}, the judge {bench.judge.name!r}")


async def scores_from_0_to_1(bench: Bench) -> None:
    """No NaN, no percentages."""
    for kind in (CaseClass.PERFECT, CaseClass.WRONG_ENTITY, CaseClass.ADVERSARIAL):
        score = (await bench.ask(bench.first(kind))).score
        _require(0.0 <= score <= 1.0, f"the {kind} case scores {score}")


async def parts_are_scores_or_none(bench: Bench) -> None:
    """A part is a number from 0 to 1 or does not apply."""
    for name, value in (await bench.perfect()).parts.items():
        _require(value is None or 0.0 <= value <= 1.0, f"part {name} is {value}")


async def the_score_is_that_of_its_parts(bench: Bench) -> None:
    """A judge that reports KnowGen's four dimensions scores by KnowGen's formula."""
    said = await bench.perfect()
    if set(said.parts) == set(WEIGHTS):
        _require(
            abs(said.score - k_score(said.parts)) < _TOLERANCE,
            f"the score is {said.score}, the K-score of its parts {k_score(said.parts)}",
        )


async def says_whether_text_applies(bench: Bench) -> None:
    """`text_accuracy` is None exactly where the request asks for no text."""
    if bench.is_image:
        for with_caption in (True, False):
            said = await bench.ask(bench.first(CaseClass.PERFECT, with_caption=with_caption))
            value = said.parts.get(TEXT_ACCURACY)
            _require((value is not None) == with_caption, f"text_accuracy is {value}, with_caption={with_caption}")


async def names_its_model_and_its_prompt(bench: Bench) -> None:
    """A score can be traced to what gave it."""
    said = await bench.perfect()
    _require(bool(said.model), "model is empty")
    _require(_SHA256.fullmatch(said.prompt_sha256) is not None, f"prompt_sha256 is {said.prompt_sha256!r}")


async def counts_time_and_money(bench: Bench) -> None:
    """Both are finite and not negative."""
    said = await bench.perfect()
    for name, value in (("latency_s", said.latency_s), ("cost_usd", said.cost_usd)):
        _require(math.isfinite(value) and value >= 0.0, f"{name} is {value}")


async def gives_reasons(bench: Bench) -> None:
    """The report shows them."""
    _require(bool((await bench.perfect()).rationale.strip()), "rationale is empty")


async def prefers_the_right_attempt_to_a_wrong_entity(bench: Bench) -> None:
    """The least that a judge must see."""
    await _prefers_perfect_to(bench, CaseClass.WRONG_ENTITY)


async def prefers_the_right_attempt_to_wrong_text(bench: Bench) -> None:
    """The caption counts."""
    await _prefers_perfect_to(bench, CaseClass.WRONG_TEXT)


async def prefers_the_right_attempt_to_an_empty_one(bench: Bench) -> None:
    """Nothing is not good."""
    await _prefers_perfect_to(bench, CaseClass.EMPTY)


async def prefers_the_right_attempt_to_noise_and_keys(bench: Bench) -> None:
    """Noise, patterns and master keys earn less than every right attempt."""
    right = (await bench.perfect()).score
    for golden in bench.attempts(CaseClass.ADVERSARIAL):
        score = (await bench.ask(golden)).score
        _require(score < right, f"{golden.case.id} scores {score}, a right attempt {right}")


async def cannot_be_talked_round(bench: Bench) -> None:
    """Words to the judge, in the picture or in the answer, never raise a score above that of the clean control."""
    for golden in bench.attempts(CaseClass.INSTRUCTIONS):
        if golden.case.control is not None:
            clean = (await bench.ask(bench.named(golden.case.control))).score
            talked = (await bench.ask(golden)).score
            _require(talked <= clean + _TOLERANCE, f"{golden.case.id} scores {talked}, its control {clean}")


async def judges_the_same_thing_the_same_way(bench: Bench) -> None:
    """Test and retest."""
    before, after = (await bench.perfect()).score, (await bench.perfect()).score
    _require(abs(before - after) < _TOLERANCE, f"{before}, then {after}")


async def keeps_concurrent_attempts_apart(bench: Bench) -> None:
    """Eight questions at once get the answers that they get one at a time."""
    kinds = (CaseClass.PERFECT, CaseClass.WRONG_ENTITY, CaseClass.WRONG_TEXT, CaseClass.EMPTY)
    asked = [bench.first(kind) for kind in kinds] * 2
    alone = [(await bench.ask(golden)).score for golden in asked[:4]] * 2
    together = [said.score for said in await asyncio.gather(*map(bench.ask, asked))]
    _require(together == alone, f"one at a time {alone}, together {together}")


async def survives_a_cancelled_question(bench: Bench) -> None:
    """A deadline cancels a call; the next one works."""
    asked = asyncio.ensure_future(bench.ask(bench.first(CaseClass.WRONG_ENTITY)))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await bench.perfect()


async def raises_judge_error_for_a_picture_that_is_gone(bench: Bench) -> None:
    """A missing picture is the world's failure, never a score."""
    if bench.is_image:
        golden = replace(bench.first(CaseClass.PERFECT), image=ImageRef(sha256="f" * 64, width_px=8, height_px=8))
        try:
            said = await bench.ask(golden)
        except JudgeError:
            return
        raise Nonconforming(f"a picture that nobody stored scores {said.score}")


async def a_task_without_ground_truth_is_no_bug(bench: Bench) -> None:
    """A verdict or a JudgeError; anything else would stop a run."""
    golden = bench.first(CaseClass.PERFECT)
    try:
        await bench.ask(replace(golden, task=replace(golden.task, target=None)))
    except JudgeError:
        return


async def judgements_travel_between_processes(bench: Bench) -> None:
    """They are pickled between actors."""
    said = await bench.perfect()
    _require(pickle.loads(pickle.dumps(said)) == said, "the judgement changes when it is pickled")


async def leaves_the_pictures_alone(bench: Bench) -> None:
    """The store still holds what it held."""
    golden = bench.first(CaseClass.PERFECT)
    before = bench.store.get(golden.image).tobytes()
    await bench.ask(golden)
    _require(bench.store.get(golden.image).tobytes() == before, "the judge changed the picture it judged")


async def judges_pictures_of_any_size(bench: Bench) -> None:
    """A picture of the right content at twice the size still beats a wrong one."""
    if bench.is_image:
        golden = bench.first(CaseClass.PERFECT)
        picture = bench.store.get(golden.image)
        large = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.LANCZOS)
        score = (await bench.ask(replace(golden, image=bench.store.put(large)))).score
        wrong = (await bench.ask(bench.first(CaseClass.WRONG_ENTITY))).score
        _require(score > wrong, f"the right picture, twice as large, scores {score}, a wrong one {wrong}")


async def _prefers_perfect_to(bench: Bench, kind: CaseClass) -> None:
    right, wrong = (await bench.perfect()).score, (await bench.ask(bench.first(kind))).score
    _require(right > wrong, f"a right attempt scores {right}, the {kind} case {wrong}")


Check = Callable[[Bench], Awaitable[None]]

CASES: tuple[Check, ...] = (
    takes_the_keyword_store,
    has_a_name_that_the_reward_knows,
    judges_asynchronously,
    gives_a_judgement_under_its_own_name,
    scores_from_0_to_1,
    parts_are_scores_or_none,
    the_score_is_that_of_its_parts,
    says_whether_text_applies,
    names_its_model_and_its_prompt,
    counts_time_and_money,
    gives_reasons,
    prefers_the_right_attempt_to_a_wrong_entity,
    prefers_the_right_attempt_to_wrong_text,
    prefers_the_right_attempt_to_an_empty_one,
    prefers_the_right_attempt_to_noise_and_keys,
    cannot_be_talked_round,
    judges_the_same_thing_the_same_way,
    keeps_concurrent_attempts_apart,
    survives_a_cancelled_question,
    raises_judge_error_for_a_picture_that_is_gone,
    a_task_without_ground_truth_is_no_bug,
    judgements_travel_between_processes,
    leaves_the_pictures_alone,
    judges_pictures_of_any_size,
)
"""In the order in which they run."""


async def check_judge(plug: Plug, store: ImageStore) -> list[CaseResult]:
    """Build the judge and run every case."""
    judge = cast("Judge", plug.build(store=store))
    bench = Bench(plug, judge, store)
    try:
        return [await _run(check, bench) for check in CASES]
    finally:
        await close(judge)


def report(results: Sequence[CaseResult]) -> str:
    """One line per case and a count."""
    lines = [
        f"{'ok  ' if result.problem is None else 'FAIL'}  {result.name}"
        + ("" if result.problem is None else f"\n      {result.problem}")
        for result in results
    ]
    passed = sum(result.problem is None for result in results)
    return "\n".join([*lines, f"{passed} of {len(results)} cases passed"])


async def _run(check: Check, bench: Bench) -> CaseResult:
    name = cast("FunctionType", check).__name__.replace("_", " ")
    try:
        await check(bench)
    except Nonconforming as error:
        return CaseResult(name=name, problem=str(error))
    except Exception as error:  # noqa: BLE001  a plug may raise anything; the kit says what
        return CaseResult(name=name, problem=f"{type(error).__name__}: {error}")
    return CaseResult(name=name, problem=None)
