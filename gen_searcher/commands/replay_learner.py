"""The learner's share of a replay: the recorded steps, taken again from a state that is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gen_searcher.cluster.fleet import Fleet
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.grpo import learner_spec, rules_of
from gen_searcher.commands.workplace import Workplace
from gen_searcher.train.grpo import step_batch
from gen_searcher.types import Group, StepReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One step."""

    config: str
    """Digest of its settings."""
    groups: tuple[Group, ...]
    """In the order in which they are packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """Where a learner begins, and what it writes."""

    start: Path
    load: Path | None
    """Checkpoint to go on from; None: the fresh policy."""
    before_last: Path | None
    """Where its state before its last step goes."""
    after: Path | None
    """Where its state after its last step goes."""


def learn(
    lessons: Sequence[Lesson],
    *,
    workplace_of: Callable[[str], Workplace],
    start: Path,
    state: Path | None,
    keep: Path | None,
    scratch: Path,
) -> list[StepReport]:
    """Take the steps one after the other. Where the settings change, a new learner goes on, as it did in the run.

    Args:
        lessons: The steps.
        workplace_of: Digest of settings -> the run with them.
        start: The policy that the stage started from.
        state: Checkpoint to begin with; None: `start` itself.
        keep: Where the checkpoint before the last step goes; None: nowhere.
        scratch: A folder of our own.
    """
    runs = [(config, list(run)) for config, run in groupby(lessons, key=lambda lesson: lesson.config)]
    reports: list[StepReport] = []
    for number, (config, run) in enumerate(runs, start=1):
        place = workplace_of(config)
        is_last = number == len(runs)
        after = None if is_last else scratch / f"after-{number}"
        states = _States(start=start, load=state, before_last=keep if is_last else None, after=after)
        with cluster_session(place.cfg.cluster, run_id="replay", command="replay"):
            reports += asyncio.run(_learn(place, run, states))
        state = after
    return reports


async def _learn(place: Workplace, lessons: Sequence[Lesson], states: _States) -> list[StepReport]:
    cfg, rules = place.cfg, rules_of(place.cfg)
    fleet = Fleet(cluster=cfg.cluster, folder=place.folder, limits=cfg.limits, cassette=cfg.cassette)
    learner = await fleet.learner(learner_spec(place, states.start), rollouts=None)
    if states.load is not None:
        await learner.load(states.load)
    reports: list[StepReport] = []
    for number, lesson in enumerate(lessons, start=1):
        if number == len(lessons) and states.before_last is not None:
            await learner.save(states.before_last)
        reports.append(await learner.step(step_batch(lesson.groups, rules)))
    if states.after is not None:
        await learner.save(states.after)
    return reports
