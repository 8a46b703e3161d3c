"""Traces of a real run: every booked attempt is one trace, made by several processes, and a loss is an error in it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.agent.loop import Agent
from gen_searcher.agent.render import Renderer
from gen_searcher.cluster.roles import ToolPool
from gen_searcher.cluster.session import cluster_session
from gen_searcher.commands.crew import Crew
from gen_searcher.commands.grpo import rules_of
from gen_searcher.commands.workplace import Workplace
from gen_searcher.config import load
from gen_searcher.config.plug import Plug
from gen_searcher.metrics.traces import names
from gen_searcher.train.attempt import run_group
from gen_searcher.train.run import RunFolder
from gen_searcher.types import Group, Task, Trajectory
from gen_searcher.world.teacher import Teacher, TeacherFlaws
from tests.metrics.traces.receiver import Receiver, Seen, receiving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")
KEY = "Bearer sesame-open-8123"


def run(*words: str) -> None:
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert KEY not in done.stdout + done.stderr
    assert "traces:" not in done.stderr, done.stderr[-3000:]


def check_trace(spans: list[Seen]) -> Seen:
    """One root, every parent there, nobody outside its parent's time unless one was given up. Returns the root."""
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    (root,) = [span for span in spans if not span.parent_id]
    for span in spans:
        if span is not root:
            parent = by_id[span.parent_id]
            assert parent.start_ns <= span.start_ns <= span.end_ns, (span, parent)
            assert span.end_ns <= parent.end_ns or "CancelledError" in (span.said, parent.said), (span, parent)
    return root


def processes(spans: list[Seen]) -> set[tuple[object, object, object]]:
    keys = (names.ROLE, "process.pid", "service.instance.id")
    return {(span.resource[keys[0]], span.resource[keys[1]], span.resource[keys[2]]) for span in spans}


def roles(spans: list[Seen]) -> set[object]:
    return {role for role, _, _ in processes(spans)}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Path:
    """A run directory after sft without traces, and grpo and one arm of bench with them."""
    folder = tmp_path_factory.mktemp("traces") / "run"
    key = folder.parent / "key"
    key.write_text(KEY)
    traced = ("trace=otlp", f"trace.endpoint={receiver.url}", f"trace.headers.authorization='file:{key}'")
    run("sft", "experiment=smoke", f"run_dir={folder}")
    assert receiver.bodies == []
    run("grpo", "experiment=smoke", f"run_dir={folder}", *traced)
    run("bench", "experiment=smoke", f"run_dir={folder}", *traced, "bench.arms=[no-search]")
    return folder


def test_every_booked_attempt_is_one_trace_across_processes(run_dir: Path, receiver: Receiver) -> None:
    with closing(sqlite3.connect(RunFolder(root=run_dir).ledger)) as ledger:
        booked = ledger.execute(
            "SELECT task_id, seed, reward FROM members JOIN instances USING (visit) WHERE kind = 'attempt'"
        ).fetchall()
    made: list[tuple[object, object, object]] = []
    for spans in receiver.traces().values():
        root = check_trace(spans)
        if root.attributes[names.COMMAND] != "grpo":
            continue
        assert root.name == "attempt"
        assert root.resource[names.RUN] == "run"
        assert not root.is_error, root.said
        made.append((root.attributes[names.TASK], root.attributes[names.ATTEMPT_SEED], root.attributes[names.REWARD]))
        assert len(processes(spans)) == len({pid for _, pid, _ in processes(spans)}) >= 2
        assert {"driver", "rollout"} <= roles(spans)
        chats = [span for span in spans if span.name == "chat"]
        assert chats
        assert len(chats) == root.attributes[names.TURNS]
        assert sum(int(chat.attributes[names.OUTPUT_TOKENS]) for chat in chats) == root.attributes[names.OUTPUT_TOKENS]
        assert {chat.resource[names.ROLE] for chat in chats} == {"rollout"}
        (agent,) = [span for span in spans if span.name == "invoke_agent search"]
        assert agent.attributes[names.WORKER] == 0
    assert len(booked) >= 8
    assert sorted(made) == sorted(booked)


def test_an_arm_of_bench_is_traced_to_the_generator_and_the_judges(run_dir: Path, receiver: Receiver) -> None:
    assert run_dir.exists()
    found = [spans for spans in receiver.traces().values() if check_trace(spans).attributes[names.COMMAND] == "bench"]
    assert len(found) == 2
    for spans in found:
        assert roles(spans) == {"driver", "generator", "reward"}
        assert sorted(span.name for span in spans) == [
            *("attempt", "draw", "evaluate image", "evaluate text"),
            *("generate_content", "judge image", "judge text", "try"),
        ]


def test_no_secret_no_prompt_and_no_page_left_the_run(run_dir: Path, receiver: Receiver) -> None:
    assert {sent["Authorization"] for sent in receiver.headers} == {KEY}
    everything = b"".join(receiver.bodies)
    assert b"sesame" not in everything
    place = Workplace.open(load.load(["experiment=smoke", f"run_dir='{run_dir}'"]))
    for task in (*place.tasks("train"), *place.tasks("heldout")):
        assert task.prompt.encode() not in everything
    written = [path for path in run_dir.rglob("*") if path.is_file()]
    assert all(KEY.encode() not in path.read_bytes() for path in written)


class Taught:
    """The agent with its real tools and a teacher for a policy, in this process."""

    def __init__(self, crew: Crew, renderer: Renderer) -> None:
        self._crew = crew
        self._renderer = renderer

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        flaws = TeacherFlaws(oversearch=0.0, first_picture=0.0, forgets_caption=0.0)
        teacher = Teacher(task, renderer=self._renderer, flaws=flaws, seed=seed)
        agent = Agent(
            engine=teacher,
            tools=ToolPool(self._crew.tools),
            renderer=self._renderer,
            config=self._crew.place.cfg.agent,
        )
        return await agent.search(task, seed=seed)


async def taught_group(place: Workplace) -> Group:
    async with Crew.raise_actors(place) as crew:
        await crew.wait_ready()
        attempt = crew.attempt(Taught(crew, Renderer.load(place.policy("base"))))
        rules = replace(rules_of(place.cfg).group, size=2, tries=2)
        return await run_group(place.tasks("train")[0], seed=3, version=0, rules=rules, attempt=attempt)


def group_of(folder: Path, receiver: Receiver, **judges: Plug) -> Group:
    place = Workplace.open(load.load(["experiment=smoke", f"run_dir='{folder}'", f"trace.endpoint={receiver.url}"]))
    cfg = place.cfg.model_copy(update={"judges": {**place.cfg.judges, **judges}})
    with cluster_session(cfg.cluster, run_id="traces", command="grpo"):
        return asyncio.run(taught_group(replace(place, cfg=cfg)))


def test_tool_calls_pictures_and_verdicts_of_an_attempt_come_from_the_processes_that_did_them(
    tmp_path: Path,
) -> None:
    with receiving() as own:
        group = group_of(tmp_path / "run", own)
    assert len(group.attempts) == 2
    found = own.traces()
    assert len(found) == 2
    rewards = {attempt.seed: attempt.reward.total for attempt in group.attempts}
    for spans in found.values():
        root = check_trace(spans)
        assert root.attributes[names.REWARD] == rewards[int(root.attributes[names.ATTEMPT_SEED])]
        assert root.attributes[names.OUTCOME] == "grounded"
        assert roles(spans) == {"driver", "tool", "generator", "reward"}
        tools = [span for span in spans if span.name.startswith("execute_tool ")]
        assert tools
        assert len(tools) == root.attributes[names.TOOL_CALLS]
        for tool in tools:
            assert tool.name == f"execute_tool {tool.attributes[names.TOOL]}"
            assert tool.attributes[names.RESULT] == "ok"
            assert tool.attributes[names.CACHE] in ("hit", "miss", "replay")
            assert float(tool.attributes[names.COST_USD]) >= 0.0
            assert tool.resource[names.NODE] == tools[0].resource[names.NODE] != ""
        scores = {span.attributes[names.SCORE] for span in spans if span.name.startswith("judge ")}
        attempt = next(each for each in group.attempts if each.seed == root.attributes[names.ATTEMPT_SEED])
        assert scores == {judgement.score for judgement in attempt.judgements}


def test_an_attempt_that_stays_lost_is_an_error_with_its_stage_and_both_tries(tmp_path: Path) -> None:
    broken = Plug.model_validate({"_target_": "tests.e2e.broken_judge.BrokenJudge"})
    with receiving() as own:
        group = group_of(tmp_path / "run", own, image=broken)
    assert group.attempts == ()
    assert len(group.lost) == 4
    for spans in own.traces().values():
        root = check_trace(spans)
        assert root.is_error
        assert root.attributes[names.STAGE] == "judge"
        assert [span.said for span in spans if span.name == "try"] == [root.said] * 2
        assert "the judge is out" in root.said
        assert {span.is_error for span in spans if span.name == "evaluate image"} == {True}


def test_a_receiver_that_hangs_changes_nothing_about_the_attempts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving() as own:
        own.go_on.clear()
        group = group_of(tmp_path / "run", own)
        assert own.got.is_set()
        assert own.spans == []
    assert len(group.attempts) == 2
    assert group.lost == ()
    assert "traces: " in caplog.text
