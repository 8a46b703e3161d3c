"""`gen-searcher bench benchmark=...`: a published benchmark for arms of this run, and for what others found or drew.

rows -> search -> picture -> verdict -> table        every stage remembered, so that a killed run resumes

What it leaves in `bench/KIND/`: `standings.json`, `rows-ARM.jsonl`, the same in the form of the benchmark's own scripts,
`problems.jsonl`, and the journals of what was paid for.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from gen_searcher.bench.journal import RememberedGenerator, at_first
from gen_searcher.bench.rowfile import Problem, listed
from gen_searcher.bench.scored import Scored, failed, scored
from gen_searcher.bench.searchers import GivenSearcher, RequestInstead
from gen_searcher.bench.spent import Part, Share
from gen_searcher.bench.standings import STANDINGS, Standings, render, standings
from gen_searcher.cluster.head import while_head_lives
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.bench import STAGES
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.desk import Desk, open_desk
from gen_searcher.commands.prices import free_tools
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config.bench import Arm
from gen_searcher.config.capability import is_local, plug_capability
from gen_searcher.config.root import RunConfig
from gen_searcher.drawing import Capability
from gen_searcher.errors import DataError
from gen_searcher.metrics.progress import Progress
from gen_searcher.protocols import Judge, Searcher
from gen_searcher.rewards.compose import IMAGE, check_judgement
from gen_searcher.tools.limited import close
from gen_searcher.train.attempt import AttemptRunner, GroupRules, PictureSeed, member_seed, run_attempt
from gen_searcher.train.evaluate import DirectSearcher, evaluate
from gen_searcher.types import Attempt, Group, ImageRef, Judgement, Reward, Task, Trajectory

log = logging.getLogger(__name__)

JUDGED_AT_ONCE = 64
"""Drawn rows in flight; the judge's own limit of questions lies below."""
SHOWN_PROBLEMS = 20
"""On the screen; the file holds all."""
SHOWN_REASONS = 5
"""Why an arm has no row; they are often all the same."""
_SCORED = TypeAdapter(Scored)
_PROBLEM = TypeAdapter(Problem)

Arms = dict[str, list[Scored]]


def run(cfg: RunConfig) -> int:
    """Evaluate all arms, write `bench/KIND/`, print the table and what was left out.

    Raises:
        DataError: An arm, or the benchmark itself, has no usable row; says why, and where all problems are.
    """
    place = Workplace.open(cfg)
    for arm in cfg.bench.arms:
        if arm in STAGES:
            place.policy(STAGES[arm])
    with open_desk(place) as desk:
        arms = _arms(desk, _tasks(desk))
        _refuse_empty(desk, arms)
        found = standings(
            arms,
            scheme=desk.suite.scheme,
            seed=cfg.seed,
            problems=desk.problems,
            notes=desk.notes,
            free={name: _free(desk, name) for name in arms},
        )
        _write(desk, arms, found)
    return 0


def _tasks(desk: Desk) -> tuple[Task, ...]:
    """The published rows, empty where none are named. Raises DataError before anything is spent on none that can be used."""
    tasks = desk.published()
    if desk.benchmark.rows and not tasks:
        raise _nothing_to_score(desk, "bench.benchmark.rows", desk.benchmark.rows)
    return tasks


def _refuse_empty(desk: Desk, arms: Arms) -> None:
    """Raises DataError for an arm without a row; its own file named them, as published rows leave none empty."""
    given = {**desk.benchmark.groundings, **desk.benchmark.drawn, **desk.benchmark.scored}
    for name in (name for name, rows in arms.items() if not rows):
        notes = [note for note in desk.notes if note.startswith(f"{name}: ")]
        raise _nothing_to_score(desk, f"the arm {name}", [given[name]], notes=notes)


def _nothing_to_score(desk: Desk, what: str, files: Sequence[Path], *, notes: Sequence[str] = ()) -> DataError:
    """Every row of these files is left out: the first reasons, and `notes`. All problems are written down."""
    listing = _write_problems(desk)
    names = list(map(str, files))
    reasons = listed([problem for problem in desk.problems if problem.file in names], most=SHOWN_REASONS)
    return DataError(
        "\n".join(
            [
                f"{what}: {', '.join(names)} has no usable row, so that there is nothing to score:",
                *(f"  {line}" for line in (*reasons, *notes)),
                f"Mend it, or leave it out. All {len(desk.problems)} problems are in {listing}",
            ]
        )
    )


def _arms(desk: Desk, tasks: Sequence[Task]) -> Arms:
    """Arms that need the run's workers, then those that need a judge only, then those that need nothing."""
    arms: Arms = {}
    if desk.cfg.bench.arms or desk.benchmark.groundings:
        with cluster_session(desk.cfg.cluster, run_id=desk.place.folder.root.name, command="bench"):
            arms |= asyncio.run(while_head_lives(_worked_on(desk, tasks)))
    if desk.benchmark.drawn:
        arms |= asyncio.run(_drawn_elsewhere(desk, tasks))
    for name, path in desk.benchmark.scored.items():
        read = desk.suite.scored(path, tasks, others=desk.others)
        desk.note(read.problems)
        desk.left_aside(name, read.aside)
        arms[name] = list(read.rows)
    return arms


async def _worked_on(desk: Desk, tasks: Sequence[Task]) -> Arms:
    place = replace(desk.place, cfg=desk.cfg.model_copy(update={"judges": {IMAGE: desk.judge}}))
    arms: Arms = {}
    async with Crew.raise_actors(place) as crew:
        await crew.wait_ready()
        for arm in desk.cfg.bench.arms:
            arms[arm] = await _own(desk, crew, arm, tasks)
        for name, path in desk.benchmark.groundings.items():
            given = tasks or desk.tasks(path)
            rows = await _searched(desk, crew, name, given, GivenSearcher(desk.groundings(name)))
            arms[name] = [_searched_elsewhere(row) for row in rows]
    return arms


def _searched_elsewhere(row: Scored) -> Scored:
    """Nobody told us what somebody else's agent took."""
    return row if row.spent is None else replace(row, spent=replace(row.spent, agent=Share(seconds=None, asked=True)))


def _free(desk: Desk, arm: str) -> Set[Part]:
    """The parts in which an arm asks nobody who has a price; what others did for it may have had one."""
    ours = arm in desk.cfg.bench.arms
    free: dict[Part, bool] = {
        "agent": ours and free_tools(desk.cfg.search),
        "drawing": (ours or arm in desk.benchmark.groundings) and is_local(desk.cfg.generator),
        "judging": is_local(desk.judge),
    }
    return {part for part, is_free in free.items() if is_free}


async def _own(desk: Desk, crew: Crew, arm: Arm, tasks: Sequence[Task]) -> list[Scored]:
    if arm not in STAGES:
        return await _searched(desk, crew, arm, tasks, DirectSearcher())
    policy = desk.place.policy(STAGES[arm])
    rollouts = crew.rollouts(policy, desk.cfg.agent.sampling_like(desk.cfg.bench))
    try:
        seeds = crew.of_one_model(member_seed)
        searcher = crew.searcher(rollouts, generator=desk.memory.generator(crew.drawings), picture_seed=seeds)
        return await _searched(desk, crew, arm, tasks, desk.memory.searcher(searcher, policy=policy))
    finally:
        await crew.fleet.flush_traces()
        rollouts.stop()


async def _searched(desk: Desk, crew: Crew, arm: str, tasks: Sequence[Task], searcher: Searcher) -> list[Scored]:
    """Rows of an arm whose pictures this run draws."""
    instead = RequestInstead(searcher)
    generator = desk.memory.generator(crew.drawings)
    attempt = partial(
        _remembered,
        searcher=instead if desk.benchmark.ungrounded == "request" else searcher,
        generator=generator,
        judges=[desk.memory.judged_by(judge, desk.judge) for judge in crew.judges()],
        picture_seed=crew.of_one_model(member_seed),
        capability=plug_capability(desk.cfg.generator),
    )
    cluster = desk.cfg.cluster
    at_once = cluster.rollout_workers * cluster.rollout_concurrency
    rows = await _evaluated(desk, arm, tasks, attempt, samples=desk.cfg.bench.samples, at_once=at_once)
    if instead.instead:
        desk.notes.append(
            f"{arm}: {len(instead.instead)} searches ended without a grounding; their requests were drawn as they are"
        )
    return rows


async def _remembered(
    task: Task,
    *,
    seed: int,
    searcher: Searcher,
    generator: RememberedGenerator,
    judges: Sequence[Judge],
    picture_seed: PictureSeed,
    capability: Capability,
) -> Attempt:
    made = await run_attempt(
        task,
        seed=seed,
        searcher=searcher,
        generator=generator,
        judges=judges,
        compose=_only_score,
        picture_seed=picture_seed,
        capability=capability,
    )
    return at_first(made, generator)


async def _drawn_elsewhere(desk: Desk, tasks: Sequence[Task]) -> Arms:
    judge = cast("Judge", desk.judge.build(store=desk.place.store))
    try:
        return {name: await _drawn(desk, name, path, tasks, judge) for name, path in desk.benchmark.drawn.items()}
    finally:
        await close(judge)


async def _drawn(desk: Desk, arm: str, path: Path, tasks: Sequence[Task], judge: Judge) -> list[Scored]:
    """Rows of an arm whose pictures are there: one a task, as there is one picture, whatever `bench.samples` says."""
    given = tasks or desk.tasks(path)
    read = desk.suite.drawn(path, given, others=desk.others)
    desk.note(read.problems)
    desk.left_aside(arm, read.aside)
    there = [task for task in given if task.id in read.pictures]
    attempt = partial(_judge_only, judge=desk.memory.judged_by(judge, desk.judge), pictures=read.pictures)
    rows = await _evaluated(desk, arm, there, attempt, samples=1, at_once=JUDGED_AT_ONCE)
    absent = [task for task in given if task.id in read.failures]
    return [*rows, *(failed(task, read.failures[task.id], scheme=desk.suite.scheme) for task in absent)]


async def _judge_only(task: Task, *, seed: int, judge: Judge, pictures: Mapping[str, ImageRef]) -> Attempt:
    trajectory = await DirectSearcher().search(task, seed=seed)
    judgement = await judge.judge(task, trajectory, pictures[task.id])
    return Attempt(
        trajectory=trajectory,
        seed=seed,
        image=pictures[task.id],
        judgements=(judgement,),
        reward=_only_score(trajectory, (judgement,)),
    )


async def _evaluated(
    desk: Desk, arm: str, tasks: Sequence[Task], attempt: AttemptRunner, *, samples: int, at_once: int
) -> list[Scored]:
    cfg = desk.cfg
    with Progress(f"{desk.benchmark.kind} {arm}", total=len(tasks)) as progress:
        groups = await evaluate(
            tasks,
            attempt=attempt,
            rules=GroupRules(size=samples, tries=desk.benchmark.tries, deadline_s=cfg.cluster.call_timeout_s),
            concurrency=at_once,
            seed=cfg.seed,
            on_group=_advancing(progress),
        )
    return scored(groups, scheme=desk.suite.scheme)


def _advancing(progress: Progress) -> Callable[[Group], None]:
    done: list[Group] = []

    def on_group(group: Group) -> None:
        done.append(group)
        progress.advance(len(done), {"failed": sum(len(one.given_up) for one in done)})

    return on_group


def _only_score(trajectory: Trajectory, judgements: Sequence[Judgement]) -> Reward:
    """A benchmark has one judge and no blend. Raises JudgeError for a score off the scale."""
    del trajectory
    for judgement in judgements:
        check_judgement(judgement)
    return Reward(total=sum(judgement.score for judgement in judgements), parts={})


def _write(desk: Desk, arms: Arms, found: Standings) -> None:
    for name, rows in arms.items():
        _write_lines(desk.folder / f"rows-{name}.jsonl", [_SCORED.dump_json(row) for row in rows])
        desk.suite.export(rows, desk.folder, arm=name)
    _write_problems(desk)
    (desk.folder / "standings.json").write_bytes(STANDINGS.dump_json(found, indent=1))
    sys.stdout.write(render(found, scheme=desk.suite.scheme) + "\n")
    if desk.problems:
        sys.stdout.write(f"\n{len(desk.problems)} problems; the rows named here are in no figure:\n")
        sys.stdout.writelines(f"  {line}\n" for line in listed(desk.problems, most=SHOWN_PROBLEMS))
    sys.stdout.write(f"\n{desk.folder}\n")


def _write_problems(desk: Desk) -> Path:
    path = desk.folder / "problems.jsonl"
    _write_lines(path, [_PROBLEM.dump_json(problem) for problem in desk.problems])
    return path


def _write_lines(path: Path, lines: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
