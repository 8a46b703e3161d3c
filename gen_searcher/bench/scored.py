"""One row of a benchmark as far as it came: judged, or failed and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.bench.scheme import Scheme
from gen_searcher.bench.spent import Spent, spent
from gen_searcher.drawing import DrawnHow
from gen_searcher.errors import ConfigError
from gen_searcher.types import Attempt, Group, ImageRef, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a row has no verdict."""

    stage: str
    """`search` (no grounding), `refused`, `generate`, `judge`, `picture` (a drawn picture that is not there), ..."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One try at one row. Exactly one of `parts` and `failure` is there."""

    id: str
    prompt: str
    meta: Mapping[str, str]
    stratum: str
    parts: Mapping[str, float | None] | None = None
    """Dimension to 0..1; None where it does not apply."""
    failure: Failure | None = None
    rationale: str = ""
    model: str = ""
    """Of the judge."""
    gen_prompt: str = ""
    picture: ImageRef | None = None
    cost_usd: float | None = None
    """What search, picture and verdict cost, as far as their sellers say; None when nobody recorded it."""
    spent: Spent | None = None
    """The same part by part, with the time; None for a row without an attempt of ours."""

    def __post_init__(self) -> None:
        if (self.parts is None) == (self.failure is None):
            raise ValueError(f"row {self.id} must have either a verdict or a failure")


def stratum_of(scheme: Scheme, task: Task) -> str:
    """The stratum of a task that a reader let through. Raises ConfigError for any other."""
    found = scheme.stratum(task.id, task.meta)
    if found is None:
        raise ConfigError(f"task {task.id} belongs to no part of {scheme.name}")
    return found


def failed(task: Task, failure: Failure, *, scheme: Scheme) -> Scored:
    """A row that did not even get to an attempt."""
    return Scored(id=task.id, prompt=task.prompt, meta=task.meta, stratum=stratum_of(scheme, task), failure=failure)


def scored(groups: Sequence[Group], *, scheme: Scheme) -> list[Scored]:
    """Every member of every group: its verdict, or its last loss."""
    return [row for group in groups for row in _group(group, scheme)]


def _group(group: Group, scheme: Scheme) -> list[Scored]:
    last = {lost.seed: lost for lost in group.lost}
    given_up = [
        failed(group.task, Failure(stage=last[seed].stage, what=last[seed].error), scheme=scheme)
        for seed in group.given_up
    ]
    return [*(_attempt(group.task, attempt, scheme) for attempt in group.attempts), *given_up]


def _attempt(task: Task, attempt: Attempt, scheme: Scheme) -> Scored:
    judgement = attempt.judgements[0] if attempt.judgements else None
    if judgement is not None and set(judgement.parts) != set(scheme.dimensions):
        raise ConfigError(
            f"bench.benchmark: {scheme.name} needs verdicts on {', '.join(scheme.dimensions)}; the judge "
            f"{judgement.model} gave {', '.join(judgement.parts)}"
        )
    grounding = attempt.trajectory.grounding
    took = spent(attempt)
    return Scored(
        id=task.id,
        prompt=task.prompt,
        meta=task.meta,
        stratum=stratum_of(scheme, task),
        parts=None if judgement is None else judgement.parts,
        failure=_why(attempt) if judgement is None else None,
        rationale="" if judgement is None else judgement.rationale,
        model="" if judgement is None else judgement.model,
        gen_prompt="" if grounding is None else grounding.gen_prompt,
        picture=attempt.image,
        cost_usd=took.usd,
        spent=took,
    )


def _why(attempt: Attempt) -> Failure:
    if attempt.drawing is not None and attempt.drawing.how is DrawnHow.REFUSED:
        return Failure(stage="refused", what=attempt.drawing.reason)
    return Failure(stage="search", what=f"no grounding: {attempt.trajectory.outcome}")
