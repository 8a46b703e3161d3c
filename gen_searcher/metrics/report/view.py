"""Attempt lines -> what the page's script shows: text, numbers and picture keys, each long text once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gen_searcher.drawing import Drawing
from gen_searcher.metrics.report.events import EventView, attempt_events
from gen_searcher.metrics.report.lines import AttemptLine, TurnText
from gen_searcher.metrics.report.observed import ResultView, result_view
from gen_searcher.metrics.report.pictures import PictureTable
from gen_searcher.metrics.report.read import Entry
from gen_searcher.metrics.report.texts import END_OF_MESSAGE, Texts, cut, segments
from gen_searcher.types import Attempt, Grounding, ImageRef, Judgement, Task, Turn

REPLY_CHARS = 4000
"""Longest reply of a judge on the page: the judges that ship keep no more, others may."""

TOKENS = 4000
"""Most sampled tokens of a turn whose probabilities are shown."""

_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|$)", re.DOTALL)
_CALL = re.compile(r"<tool_call>.*?(?:</tool_call>|$)", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """One turn, read for a person, and raw."""

    thought: str
    words: str
    """What the policy wrote beside its thought, call and answer; all of a malformed turn."""
    answer: str
    call_name: str
    call_arguments: str
    """JSON on several lines; empty when the turn holds no valid call."""
    result: ResultView | None
    prompt: tuple[int, ...]
    """Indexes into the page's texts, in order: what was added to the context and carries no gradient."""
    completion: str
    """The sampled text: what carries the gradient."""
    prompt_tokens: int
    sampled_tokens: int
    mean_logprob: float | None
    versions: str
    """Policy versions that sampled the turn, e.g. `3` or `3-4`."""
    likely: str
    """One digit per sampled token: tenths of the probability it was sampled with, 9 for 0.9 and above; `-` unknown."""
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceView:
    """A reference picture that the policy chose."""

    img_id: str
    title: str
    note: str
    page_url: str
    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementView:
    """What a judge said."""

    judge: str
    score: float
    parts: Mapping[str, float | None]
    rationale: str
    model: str
    prompt_sha256: str
    latency_s: float
    cost_usd: float
    variance: float | None
    reply: str
    """What the model behind it wrote, word for word; empty when nobody kept it or there is no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingView:
    """How the picture came about, or why there is none."""

    how: str
    reason: str
    seed: int | None
    cut_references: int
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """Everything that the page shows of one attempt."""

    id: str
    run: str
    """Name of the run; empty when the page shows one run only."""
    arm: str
    """Name of the benchmark arm, or of the training that made it."""
    is_training: bool
    step: int
    group: str
    """Key that the siblings share, over the whole page."""
    task_id: str
    prompt: str
    meta: Mapping[str, str]
    facts: tuple[str, ...]
    seed: int
    outcome: str
    reward: float | None
    reward_parts: Mapping[str, float]
    advantage: float | None
    target: str
    """Picture key; empty when the task has no ground truth."""
    picture: str
    """Picture key; empty when nothing was drawn."""
    more_pictures: tuple[str, ...]
    """Keys of further pictures of the same grounding."""
    drawing: DrawingView | None
    gen_prompt: str
    references: tuple[ReferenceView, ...]
    sources: tuple[str, ...]
    judgements: tuple[JudgementView, ...]
    turns: tuple[TurnView, ...]
    lost: str
    """Stage and error of a lost attempt; empty otherwise."""
    why: str
    """Why it failed; empty when it did not, or nobody asked."""
    events: tuple[EventView, ...]
    """What the world and the trainer did to it, in order."""
    source: str
    """File and byte of its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an attempt belongs."""

    arm: str
    is_training: bool
    entry: Entry
    why: str = ""
    """Why the attempt failed, where that is known."""
    run: str = ""
    """Name of the run; empty when the page shows one run only."""
    lost_before: tuple[Entry, ...] = ()
    """Tries of the same member that the world spoiled."""


def attempt_id(place: Place) -> str:
    """Unique over the page, and the same for the same attempt on a later page."""
    run = f"{place.run}/" if place.run else ""
    return f"{run}{place.arm}.{place.entry.step}.{place.entry.offset}"


def attempt_view(line: AttemptLine, *, place: Place, pictures: PictureTable, texts: Texts) -> AttemptView:
    """The attempt as the page shows it; pictures and long texts are put into their tables."""
    attempt = line.attempt
    grounding = attempt.trajectory.grounding if attempt else None
    seed = attempt.seed if attempt else line.lost.seed if line.lost else 0
    return AttemptView(
        id=attempt_id(place),
        run=place.run,
        arm=place.arm,
        is_training=place.is_training,
        step=line.step,
        group=f"{place.run} {place.arm} {line.step} {line.group}",
        task_id=line.task.id,
        prompt=cut(line.task.prompt),
        meta=line.task.meta,
        facts=_facts(line.task),
        seed=seed,
        outcome=place.entry.outcome,
        reward=place.entry.reward,
        reward_parts=attempt.reward.parts if attempt else {},
        advantage=line.advantage,
        target=_key(line.task.target, pictures=pictures),
        picture=_key(attempt.image, pictures=pictures) if attempt else "",
        more_pictures=tuple(pictures.key(one) for one in attempt.more_images) if attempt else (),
        drawing=_drawing(attempt.drawing) if attempt and attempt.drawing else None,
        gen_prompt=grounding.gen_prompt if grounding else "",
        references=_references(grounding, pictures=pictures) if grounding else (),
        sources=grounding.sources if grounding else (),
        judgements=tuple(_judgement(one) for one in attempt.judgements) if attempt else (),
        turns=_turns(attempt, line.texts, pictures=pictures, texts=texts) if attempt else (),
        lost=f"{line.lost.stage}: {cut(line.lost.error)}" if line.lost else "",
        why=cut(place.why),
        events=attempt_events(attempt, lost_before=place.lost_before),
        source=f"{place.entry.file.parent.name}/{place.entry.file.name}, byte {place.entry.offset}",
    )


def _key(ref: ImageRef | None, *, pictures: PictureTable) -> str:
    return pictures.key(ref) if ref else ""


def _facts(task: Task) -> tuple[str, ...]:
    facts = task.facts
    said = [f"subject: {subject.name}" for subject in facts.subjects]
    said += [f"layout: {facts.layout}"] if facts.layout else []
    said += [f"style: {facts.style}"] if facts.style else []
    said += [f"caption: {facts.caption}"] if facts.caption is not None else []
    return tuple(said)


def _references(grounding: Grounding, *, pictures: PictureTable) -> tuple[ReferenceView, ...]:
    return tuple(
        ReferenceView(
            img_id=one.img_id, title=one.title, note=one.note, page_url=one.page_url, picture=pictures.key(one.image)
        )
        for one in grounding.references
    )


def _drawing(drawing: Drawing) -> DrawingView:
    return DrawingView(
        how=drawing.how,
        reason=cut(drawing.reason),
        seed=drawing.seed,
        cut_references=drawing.cut_references,
        cost_usd=drawing.cost_usd,
    )


def _judgement(judgement: Judgement) -> JudgementView:
    return JudgementView(
        judge=judgement.judge,
        score=judgement.score,
        parts=judgement.parts,
        rationale=cut(judgement.rationale),
        model=judgement.model,
        prompt_sha256=judgement.prompt_sha256[:12],
        latency_s=round(judgement.latency_s, 3),
        cost_usd=judgement.cost_usd,
        variance=judgement.variance,
        reply=cut(judgement.reply, limit=REPLY_CHARS),
    )


def _turns(
    attempt: Attempt, said: tuple[TurnText, ...], *, pictures: PictureTable, texts: Texts
) -> tuple[TurnView, ...]:
    grounding = attempt.trajectory.grounding
    chosen = {reference.img_id for reference in grounding.references} if grounding else set[str]()
    views: list[TurnView] = []
    for index, turn in enumerate(attempt.trajectory.turns):
        text = said[index] if index < len(said) else TurnText(prompt="", completion="")
        result = None
        if turn.result:
            later = [one.completion for one in said[index + 1 :]]
            result = result_view(turn.result, call=turn.call, later=later, chosen=chosen, pictures=pictures)
        views.append(_turn(turn, text, result=result, texts=texts))
    return tuple(views)


def _turn(turn: Turn, text: TurnText, *, result: ResultView | None, texts: Texts) -> TurnView:
    written = text.completion.removesuffix(END_OF_MESSAGE)
    thought = _THOUGHT.search(written)
    answer = _ANSWER.search(written)
    rest = _ANSWER.sub("", _THOUGHT.sub("", written, count=1), count=1)
    rest = _CALL.sub("", rest, count=1) if turn.call else rest
    finite = [value for value in turn.logprobs if math.isfinite(value)]
    versions = sorted(set(turn.versions))
    return TurnView(
        thought=cut(thought[1].strip()) if thought else "",
        words=cut(rest.strip()),
        answer=_pretty(answer[1].strip()) if answer else "",
        call_name=turn.call.name if turn.call else "",
        call_arguments=cut(json.dumps(dict(turn.call.arguments), indent=2, ensure_ascii=False)) if turn.call else "",
        result=result,
        prompt=tuple(texts.index(segment) for segment in segments(text.prompt)),
        completion=cut(text.completion),
        prompt_tokens=len(turn.prompt_ids),
        sampled_tokens=len(turn.completion_ids),
        mean_logprob=round(sum(finite) / len(finite), 4) if finite else None,
        versions="-".join(str(v) for v in dict.fromkeys((versions[0], versions[-1]))) if versions else "",
        likely="".join(_tenths(value) for value in turn.logprobs[:TOKENS]),
        latency_s=round(turn.latency_s, 3),
    )


def _tenths(logprob: float) -> str:
    return str(min(9, int(math.exp(min(0.0, logprob)) * 10))) if math.isfinite(logprob) else "-"


def _pretty(answer: str) -> str:
    """JSON on several lines where it is JSON, else as it was written."""
    try:
        return cut(json.dumps(json.loads(answer), indent=2, ensure_ascii=False))
    except (json.JSONDecodeError, RecursionError):
        return cut(answer)
