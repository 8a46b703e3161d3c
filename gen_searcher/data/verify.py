"""Stage 4: request, work and picture -> scores -> kept, or rejected with a reason.

Judges score what has to be seen; rules score and refuse what can be read. Scores are kept in the journal, thresholds are
applied to them afterwards: another threshold asks no judge again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from gen_searcher.config.data import VerifyConfig
from gen_searcher.data.draw import DRAWN
from gen_searcher.data.rows import (
    CORRECTNESS,
    DIMENSIONS,
    LEGIBILITY,
    NEEDS_SEARCH,
    SAFETY,
    Drawn,
    Reject,
    StageName,
    Verdict,
    Verified,
    Work,
)
from gen_searcher.data.stage import Made, Stage, row_id
from gen_searcher.errors import ConfigError
from gen_searcher.protocols import Judge
from gen_searcher.rewards.verdict import TEXT_ACCURACY, VISUAL_CORRECTNESS
from gen_searcher.types import Judgement, Outcome, ToolKind, Trajectory

VERIFIED = TypeAdapter(Verified)
_SAME = {VISUAL_CORRECTNESS: CORRECTNESS, TEXT_ACCURACY: LEGIBILITY}
"""What the benchmark's judges call two of the dimensions."""
_WORD = re.compile(r"\w{3,}")
_STATED = re.compile(r"(?:^|(?<=[.\n] ))([^.:\n]{3,80} of [^.:\n]{1,80}): ([^.\n]{1,80})\.(?=\s|$)", re.MULTILINE)
"""A fact as pages and info boxes state it: `capital of Poland: Warsaw.`"""
_RESPONSE = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)


def verify_stage(judges: Sequence[Judge], cfg: VerifyConfig, *, who: str) -> Stage[Drawn, Verified]:
    """The stage; `who` names the judges."""

    async def work(row: Drawn) -> Made[Verified]:
        proposal, grounding = row.proposal, row.work.grounding
        shown = Trajectory(task_id=proposal.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)
        asked = (judge.judge(proposal.task, shown, row.picture.image) for judge in judges)
        judgements = tuple(await asyncio.gather(*asked))
        verdict = Verdict(scores=merged_scores(row, judgements), judgements=judgements)
        done = Verified(proposal=proposal, work=row.work, picture=row.picture, verdict=verdict)
        return Made(rows=(done,), cost_usd=sum(judgement.cost_usd for judgement in judgements))

    def sift(row: Verified) -> Reject | None:
        return next(_faults(row, cfg), None)

    return Stage(
        name=StageName.VERIFY,
        who=who,
        takes=DRAWN,
        gives=VERIFIED,
        ident=row_id,
        work=work,
        sift=sift,
    )


def merged_scores(row: Drawn, judgements: Sequence[Judgement]) -> Mapping[str, float | None]:
    """Dimension to score: the lowest of all judges', and the rules' where no judge has an opinion."""
    scores: dict[str, float | None] = {}
    for judgement in judgements:
        named = {_SAME.get(part, part): value for part, value in judgement.parts.items()}
        own = {name: value for name, value in named.items() if name in DIMENSIONS} or {judgement.judge: judgement.score}
        for name, value in own.items():
            before = scores.get(name)
            scores[name] = value if before is None else before if value is None else min(before, value)
    return {NEEDS_SEARCH: needs_search(row.proposal.prompt, row.work), **scores}


def needs_search(prompt: str, work: Work) -> float:
    """1 when the grounding holds something that a tool brought and the request does not say, else 0.

    That is a reference picture, or a word of the grounding that stands in an observation and not in the request.
    """
    if work.grounding.references:
        return 1.0
    told = {word.casefold() for word in _WORD.findall(prompt)}
    brought = {word.casefold() for text in _observations(work) for word in _WORD.findall(text)}
    used = {word.casefold() for word in _WORD.findall(work.grounding.gen_prompt)}
    return 1.0 if (used & brought) - told else 0.0


def conflict(work: Work) -> str | None:
    """A fact that the search results state in two ways, in words; None when they agree."""
    stated: dict[str, str] = {}
    for text in _observations(work):
        for what, value in _STATED.findall(text):
            before = stated.setdefault(what.casefold().strip(), value.strip())
            if before.casefold() != value.strip().casefold():
                return f"{what.strip()} is {before!r} and {value.strip()!r}"
    return None


def _faults(row: Verified, cfg: VerifyConfig) -> Iterator[Reject]:
    """Every reason against a row, the cheapest first."""
    no = Reject(stage=StageName.VERIFY, id=row.proposal.id, reason="", details="")
    work, gen_prompt = row.work, row.work.grounding.gen_prompt
    if len(gen_prompt) > cfg.max_grounding_chars:
        details = f"{len(gen_prompt)} > {cfg.max_grounding_chars} characters"
        yield replace(no, reason="long_grounding", details=details)
    failed = [step.tool for step in work.steps if step.kind is ToolKind.FAILED]
    if failed and len(failed) / len(work.steps) > cfg.max_failed_calls:
        yield replace(no, reason="failed_searches", details=f"{len(failed)} of {len(work.steps)} tool calls failed")
    signs = sorted({sign for step in work.steps for sign in step.canaries})
    if cfg.refuse_injections and signs:
        yield replace(no, reason="injection", details=f"a page shows the signs {', '.join(signs)}")
    if cfg.refuse_conflicts and (what := conflict(work)) is not None:
        yield replace(no, reason="conflicting_results", details=what)
    scores, blocked = dict(row.verdict.scores), _blocked(f"{row.proposal.prompt}\n{gen_prompt}", cfg.blocked_words)
    if cfg.blocked_words:
        scores[SAFETY] = 0.0 if blocked is not None else scores.get(SAFETY, 1.0)
    for name, floor in cfg.floors.items():
        if name not in scores:
            raise ConfigError(
                f"data.verify.floors.{name}: nobody scores it (there is {', '.join(sorted(scores))}); add a judge to "
                "data.verify.judges, for safety a list to data.verify.blocked_words, or leave the name out of the floors"
            )
        score = scores[name]
        if score is not None and score < floor:
            why = next((one.rationale for one in row.verdict.judgements if _says(one, name)), "by rule")
            why = f"holds {blocked!r}" if name == SAFETY and blocked is not None else why
            yield replace(no, reason=f"low_{name}", details=f"{score:.2f} < {floor:g}: {why}")


def _says(judgement: Judgement, name: str) -> bool:
    return name == judgement.judge or name in {_SAME.get(part, part) for part in judgement.parts}


def _observations(work: Work) -> list[str]:
    return [text for words in work.messages if words.role == "user" for text in _RESPONSE.findall(words.content)]


def _blocked(text: str, words: Sequence[str]) -> str | None:
    return next((word for word in words if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)), None)
