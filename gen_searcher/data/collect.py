"""Stage 2: a request -> the teacher's work on it, as text.

The teacher is any `Searcher` that speaks the agent's language: the run's agent over a scripted engine, over a model behind
a server, or over a policy of the run. Only work that ends with a grounding teaches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from gen_searcher.agent.render import Renderer
from gen_searcher.data.rows import Collected, Proposal, Rejected, StageName, Step, Work
from gen_searcher.data.sharegpt import Conversation, check_conversation, read_words
from gen_searcher.data.stage import Made, Stage, row_id
from gen_searcher.errors import DataError
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.protocols import Searcher
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Task, Trajectory

COLLECTED = TypeAdapter(Collected)
_SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """Who works on one request."""

    searcher: Searcher
    name: Callable[[], str]
    """Who that is, once it has answered."""
    cost_usd: Callable[[], float] = field(default=lambda: 0.0)
    """What it has cost so far, tools left out."""


TeachingFor = Callable[[Task, int], Teaching]
"""(task, seed) -> the teacher. Raises DataError for a task that it cannot work on."""


def collect_stage(
    teaching_for: TeachingFor, *, renderer: Renderer, who: str, seed: int, source: TypeAdapter[Proposal]
) -> Stage[Proposal, Collected]:
    """The stage. `renderer` speaks the tokens of the trajectories; `who` names teacher, agent and tools."""

    async def work(proposal: Proposal) -> Made[Collected]:
        task = Task(id=proposal.id, prompt=proposal.prompt, target=None, facts=proposal.facts, meta=proposal.meta)
        each = derive_seed(seed, "collect", task.id)
        started_s = time.monotonic()
        try:
            teaching = teaching_for(task, each)
        except DataError as error:
            raise Rejected("no_plan", str(error)) from error
        try:
            trajectory = await teaching.searcher.search(task, seed=each)
        except DataError as error:
            raise Rejected("unworkable", str(error), teaching.cost_usd()) from error
        cost_usd = teaching.cost_usd() + sum(turn.result.cost_usd for turn in trajectory.turns if turn.result)
        if trajectory.grounding is None:
            said = renderer.completion_text(trajectory.turns[-1].completion_ids) if trajectory.turns else ""
            raise Rejected(trajectory.outcome.value, said[-_SHOWN_CHARS:], cost_usd)
        try:
            done = work_of(
                trajectory,
                renderer=renderer,
                teacher=teaching.name(),
                cost_usd=cost_usd,
                latency_s=time.monotonic() - started_s,
            )
        except DataError as error:
            raise Rejected("unwritable", str(error), cost_usd) from error
        return Made(rows=(Collected(proposal=proposal, work=done),), cost_usd=cost_usd)

    return Stage(
        name=StageName.COLLECT,
        who=who,
        takes=source,
        gives=COLLECTED,
        ident=row_id,
        work=work,
    )


def work_of(trajectory: Trajectory, *, renderer: Renderer, teacher: str, cost_usd: float, latency_s: float) -> Work:
    """A grounded trajectory as text.

    Raises:
        DataError: A conversation that no file of conversations can hold.
    """
    if trajectory.grounding is None:
        raise ValueError(f"the trajectory of task {trajectory.task_id} has no grounding")
    sample = trajectory_sample(trajectory, 1.0)
    where = f"the work on {trajectory.task_id}"
    words = read_words(renderer.text(sample.token_ids), where=where)
    check_conversation(Conversation(words=words, images=sample.images, where=where))
    results = [(turn.call, turn.result) for turn in trajectory.turns]
    return Work(
        messages=words,
        images=sample.images,
        steps=tuple(
            Step(tool=call.name, kind=result.kind, canaries=result.canaries)
            for call, result in results
            if call is not None and result is not None
        ),
        grounding=trajectory.grounding,
        teacher=teacher,
        cost_usd=cost_usd,
        latency_s=latency_s,
    )
