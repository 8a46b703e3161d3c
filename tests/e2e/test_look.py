"""A look at one's own picture on real parts: tools, painter, judges and learner, and a real engine for the second answer."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from gen_searcher.agent.look import Looker
from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.agent.revision import own_pictures
from gen_searcher.cluster.roles import RolloutPool, ToolPool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.grpo import learner_spec, rules_of
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.drawing import OwnPicture
from gen_searcher.metrics.report import write_report
from gen_searcher.train.attempt import run_group
from gen_searcher.train.grpo import step_batch
from gen_searcher.train.looking import LookingSearcher, LookRules
from gen_searcher.train.run import AttemptLog, TurnReader
from gen_searcher.types import Attempt, Group, Outcome, StepReport, Task, Trajectory, Turn
from gen_searcher.world.teacher import Teacher, TeacherFlaws

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FLAWS = TeacherFlaws(oversearch=0.0, first_picture=0.0, forgets_caption=0.5)


class Taught:
    """The agent with its real tools and a teacher for a policy, who answers and looks at its picture."""

    def __init__(self, crew: Crew, renderer: Renderer) -> None:
        self._crew = crew
        self._renderer = renderer
        self._agents: dict[int, Agent] = {}

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        teacher = Teacher(task, renderer=self._renderer, flaws=FLAWS, seed=seed)
        tools = ToolPool(self._crew.tools)
        config = self._crew.place.cfg.agent
        self._agents[seed] = Agent(engine=teacher, tools=tools, renderer=self._renderer, config=config)
        return await self._agents[seed].search(task, seed=seed)

    async def revise(self, trajectory: Trajectory, drawn: OwnPicture, *, seed: int) -> Trajectory:
        side_px = self._crew.place.cfg.agent.tools.view_side_px
        looker = Looker(self._agents[seed], self._crew.place.store, view_side_px=side_px)
        return await looker.revise(trajectory, drawn, seed=seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run left."""

    place: Workplace
    group: Group
    report: StepReport
    sampled: Sequence[Trajectory]
    """The same answers, whose second ones a real engine has sampled."""


async def work(place: Workplace) -> Seen:
    cfg, start = place.cfg, place.policy("base")
    async with Crew.raise_actors(place) as crew:
        rollouts = crew.rollouts(start, cfg.agent)
        learner = await crew.fleet.learner(learner_spec(place, start), rollouts=None)
        await crew.wait_ready()
        renderer = Renderer.load(start)
        taught, rules = Taught(crew, renderer), rules_of(cfg)
        looks = LookRules(agent=cfg.agent, max_images=cfg.policy.max_images)
        attempt = crew.attempt(LookingSearcher(taught, taught, crew.drawings, rules=looks))
        task = next(task for task in place.tasks("train") if task.facts.caption is not None)
        group = await run_group(task, seed=3, version=0, rules=replace(rules.group, size=6), attempt=attempt)
        with closing(AttemptLog(place.folder.attempts, read=TurnReader(renderer.text))) as attempts:
            attempts.record(group, step=1, group_id=task.id, advantages=[0.0] * len(group.attempts))
        report = await learner.step(step_batch([group], rules))
        engine = LookingSearcher(taught, RolloutPool(rollouts), crew.drawings, rules=looks)
        sampled = await asyncio.gather(*(engine.search(task, seed=each.seed) for each in group.attempts[:2]))
    return Seen(place=place, group=group, report=report, sampled=sampled)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    root = tmp_path_factory.mktemp("look") / "run"
    place = Workplace.open(load.load(["experiment=smoke", f"run_dir='{root}'", "agent.looks=1"]))
    with cluster_session(place.cfg.cluster, run_id="look", command="grpo"):
        return asyncio.run(work(place))


def by_look(attempts: Sequence[Attempt], *, keeps: bool) -> list[Attempt]:
    return [each for each in attempts if (each.image in own_pictures(each.trajectory)) == keeps]


def test_pictures_without_the_caption_are_drawn_again_and_earn_more_than_they_would_have(seen: Seen) -> None:
    attempts = seen.group.attempts
    kept, revised = by_look(attempts, keeps=True), by_look(attempts, keeps=False)
    assert len(kept) + len(revised) == 6
    assert min(len(kept), len(revised)) > 0
    assert all(each.trajectory.outcome is Outcome.GROUNDED for each in attempts)
    assert min(each.reward.parts["text"] for each in revised) == pytest.approx(1.0, abs=0.05)


def test_the_learner_learns_from_the_turns_with_looks(seen: Seen) -> None:
    assert len(seen.group.attempts) == 6
    assert all(len(own_pictures(each.trajectory)) == 1 for each in seen.group.attempts)
    assert math.isfinite(seen.report.loss)
    assert math.isfinite(seen.report.grad_norm)


def test_a_real_engine_samples_the_second_answer_after_what_a_teacher_reads(seen: Seen) -> None:
    for sampled, taught in zip(seen.sampled, seen.group.attempts, strict=False):
        own: Turn = sampled.turns[-1]
        assert own.prompt_ids == taught.trajectory.turns[-1].prompt_ids
        assert own.images == taught.trajectory.turns[-1].images
        assert 0 < len(own.completion_ids) == len(own.logprobs)
        assert all(math.isfinite(logprob) and logprob <= 0.0 for logprob in own.logprobs)
        assert sampled.outcome in (Outcome.MALFORMED, Outcome.OUT_OF_TOKENS)  # its weights are random


def test_the_report_holds_both_pictures(seen: Seen) -> None:
    page = write_report(seen.place.folder.root).read_text(encoding="utf-8")
    assert json.dumps("your picture") in page
    assert "another one was judged" in page
