"""Every command of a run, as its user calls it, on real parts and tiny sizes."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion, problem

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")
STEPS = 2
ARMS = ("no-search", "sft+grpo")
"""Each arm with a policy starts an engine: one is enough here."""

COMMAND_S = 600.0
ALONE_S = 1800
"""Of a slow test: it may be the first, which waits for three commands, and then runs two of its own on a busy machine."""

pytestmark = pytest.mark.timeout(600)  # the first test waits for three commands


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=COMMAND_S, check=False)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory after sft, grpo and bench."""
    folder = tmp_path_factory.mktemp("e2e") / "run"
    for command, *words in (("sft",), ("grpo",), ("bench", f"bench.arms=[{','.join(ARMS)}]")):
        done = run(command, "experiment=smoke", f"run_dir={folder}", *words)
        assert done.returncode == 0, done.stderr[-3000:]
        if command == "bench":
            (folder / "bench.out").write_text(done.stdout)
    return folder


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_logs_every_step_with_the_gap_between_sampler_and_learner(run_dir: Path) -> None:
    steps = lines(run_dir / "grpo" / "metrics.jsonl")
    assert [step["step"] for step in steps] == [1, 2]
    gaps = [step["learner/logprob_gap_max_nats"] for step in steps]
    assert all(isinstance(gap, float) and 0.0 < gap < 1e-3 for gap in gaps), gaps


def test_every_attempt_of_a_step_is_on_record_with_its_text(run_dir: Path) -> None:
    attempts = lines(run_dir / "grpo" / "attempts.jsonl")
    assert len(attempts) == STEPS * 2 * 2
    texts = attempts[0]["texts"]
    assert isinstance(texts, list)
    assert texts[0]["prompt"].startswith("<|im_start|>system")


def check_table(run_dir: Path, arms: Sequence[str]) -> None:
    table = json.loads((run_dir / "bench" / "table.json").read_text())
    assert [arm["arm"] for arm in table["arms"]] == list(arms)
    for arm in table["arms"]:
        assert arm["low"] <= arm["k_score"] <= arm["high"]
        assert arm["tasks"] == 2
        assert {"faithfulness", "visual_correctness", "text_accuracy", "aesthetics", "text_reward"} <= set(arm)


def test_the_table_has_its_arms_in_the_published_form(run_dir: Path) -> None:
    check_table(run_dir, ARMS)
    assert "sft+grpo" in (run_dir / "bench.out").read_text()


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
def test_without_a_choice_the_table_has_all_four_arms(run_dir: Path) -> None:
    done = run("bench", "experiment=smoke", f"run_dir={run_dir}")
    assert done.returncode == 0, done.stderr[-3000:]
    check_table(run_dir, ["no-search", "untrained", "sft", "sft+grpo"])


def test_the_report_is_one_file_that_asks_for_nothing_outside(run_dir: Path) -> None:
    done = run("report", str(run_dir))
    assert done.returncode == 0, done.stderr
    html = (run_dir / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    assert "no-search" in html


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
def test_the_analysis_counts_every_attempt_of_every_arm_and_the_report_shows_it(run_dir: Path) -> None:
    done = run("bench", "analysis", str(run_dir), "experiment=smoke")
    assert done.returncode == 0, done.stderr[-3000:]
    for arm in ("no-search", "untrained", "sft", "sft+grpo"):
        analysis = json.loads((run_dir / "bench" / f"analysis-{arm}.json").read_text())
        assert analysis["attempts"] == 2
        assert analysis["failed"] == len(analysis["cases"])
        assert sum(row["attempts"] for row in analysis["links"]) + analysis["undecided"] == analysis["failed"]
        assert f"{arm}: K " in done.stdout
    no_search = json.loads((run_dir / "bench" / "analysis-no-search.json").read_text())
    assert [row["attempts"] for row in no_search["links"]] == [2, 0, 0, 0, 0, 0], "nothing was searched"
    assert "Why attempts of no-search failed" in (run_dir / "report.html").read_text()


def test_an_analysis_without_attempts_says_what_to_run(tmp_path: Path) -> None:
    done = run("bench", "analysis", str(tmp_path / "empty"), "experiment=smoke")
    assert done.returncode == 2
    assert "run `gen-searcher bench` in this run_dir first" in done.stderr


def test_a_step_replays_bit_for_bit_in_a_fresh_process(run_dir: Path) -> None:
    (recorded,) = [step for step in lines(run_dir / "grpo" / "metrics.jsonl") if step["step"] == 2]
    done = run("replay", str(run_dir), "--step", "2")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "everything agrees" in done.stdout
    assert "from the checkpoint of step 1" in done.stdout
    assert recorded["learner/grad_norm"] != 0.0
    (row,) = [text.split() for text in done.stdout.splitlines() if re.match(r"2 +=", text)]
    assert row == ["2", "=", repr(recorded["learner/loss"]), "=", repr(recorded["learner/grad_norm"])]


def test_checkpoints_hold_no_pickle(run_dir: Path) -> None:
    kinds = {path.suffix for path in (run_dir / "grpo").rglob("*") if path.is_file()}
    assert ".safetensors" in kinds
    assert not kinds & {".pt", ".pth", ".bin", ".pkl", ".ckpt"}


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
def test_a_finished_run_is_not_trained_again_and_a_longer_one_resumes(run_dir: Path) -> None:
    again = run("grpo", "experiment=smoke", f"run_dir={run_dir}")
    assert again.returncode == 0
    assert "grpo is done: 2 of 2 steps" in again.stderr
    longer = run("grpo", "experiment=smoke", f"run_dir={run_dir}", "grpo.steps=3")
    assert longer.returncode == 0, longer.stderr[-3000:]
    assert "grpo continues at step 3 of 3" in longer.stderr
    assert [step["step"] for step in lines(run_dir / "grpo" / "metrics.jsonl")] == [1, 2, 3]


def test_resuming_from_another_policy_is_refused_with_what_differs(run_dir: Path) -> None:
    config = run_dir / "sft" / "policy" / "config.json"
    before = config.read_text()
    config.write_text(before + "\n")
    try:
        done = run("grpo", "experiment=smoke", f"run_dir={run_dir}", "grpo.steps=9")
    finally:
        config.write_text(before)
    assert done.returncode == 2
    assert "belongs to another run" in done.stderr
    assert "policy: was " in done.stderr


@pytest.mark.slow
def test_generate_prints_the_trace_and_says_when_there_is_no_picture(run_dir: Path) -> None:
    done = run("generate", "Draw the flag of Poland, at night.", "experiment=smoke", f"run_dir={run_dir}")
    assert "Draw the flag of Poland, at night." in done.stdout
    assert done.returncode == (0 if "picture: " in done.stdout.replace("no picture:", "") else 1), done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
def test_a_sweep_measures_the_last_policy_at_every_setting_and_the_report_shows_it(run_dir: Path) -> None:
    done = run("bench", "experiment=smoke", "sweep=adversity", f"run_dir={run_dir}")
    assert done.returncode == 0, done.stderr[-3000:]
    table = json.loads((run_dir / "bench" / "adversity" / "table.json").read_text())
    assert [row["arm"] for row in table["arms"]] == [f"sft+grpo @ {name}" for name in ("none", "mild", "harsh")]
    assert all(row["attempts"] == 2 and row["lost"] == 0 for row in table["arms"])
    assert [pair["baseline"] for pair in table["paired"]] == ["sft+grpo @ none"] * 2
    assert "sft+grpo @ harsh" in (run_dir / "report.html").read_text()
    assert json.loads((run_dir / "bench" / "table.json").read_text())["arms"][0]["arm"] == "no-search"


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
def test_a_transfer_draws_each_search_with_every_generator_and_asks_nothing_twice(run_dir: Path) -> None:
    words = ("bench", "experiment=smoke", "sweep=transfer", "bench.arms=[no-search,sft+grpo]", f"run_dir={run_dir}")
    done = run(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = run_dir / "bench" / "transfer"
    table = json.loads((folder / "table.json").read_text())
    rows = [f"{arm} @ {generator}" for arm in ("no-search", "sft+grpo") for generator in ("embedded", "compositor")]
    assert [row["arm"] for row in table["arms"]] == rows
    assert all(row["attempts"] == 2 and row["seconds_per_attempt"] > 0.0 for row in table["arms"])
    assert [row["usd_per_attempt"] for row in table["arms"]] == [0.0] * 4, "nobody outside is asked"
    assert [(pair["better"], pair["baseline"]) for pair in table["paired"]] == [
        (rows[1], rows[0]), (rows[3], rows[2]), (rows[2], rows[0]), (rows[3], rows[1]),
    ]  # fmt: skip
    assert re.search(r"^policy +embedded +compositor +compositor - embedded$", done.stdout, re.MULTILINE)
    searched = [lines(folder / f"attempts-sft+grpo@{name}.jsonl") for name in ("embedded", "compositor")]
    found = [{one["group"]: one["attempt"]["trajectory"] for one in each} for each in searched]  # pyright: ignore
    assert found[0] == found[1], "both draw what one search found"
    journals = {path.name: path.read_bytes() for path in folder.glob("*.jsonl") if "attempts" not in path.name}
    assert set(journals) == {"searches.jsonl", "pictures.jsonl", "verdicts.jsonl"}
    assert len(journals["searches.jsonl"].splitlines()) == 2
    again = run(*words)
    assert again.returncode == 0, again.stderr[-3000:]
    assert again.stdout == done.stdout
    assert {path.name: path.read_bytes() for path in folder.glob("*.jsonl") if path.name in journals} == journals


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
def test_the_frozen_suite_is_measured_beside_the_held_out_tasks(run_dir: Path) -> None:
    words = ("experiment=smoke", "bench.suite=knowgen-mini", "bench.arms=[no-search]", f"run_dir={run_dir}")
    done = run("bench", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("knowgen-mini", "knowgen-mini-difficulty", "knowgen-mini-category", "knowgen-mini-hops"):
        table = json.loads((run_dir / "bench" / name / "table.json").read_text())
        assert sum(row["tasks"] for row in table["arms"]) == 2


class ChatJudge:
    """Scores what it is shown; the row named in `broken` gets an error."""

    def __init__(self, broken: str) -> None:
        self.broken = broken
        self.judged: list[str] = []

    async def __call__(self, request: ChatRequest) -> ChatReply:
        asked = json.loads(request.text.split("<request>")[1].split("</request>")[0])
        if asked == self.broken:
            return problem(400, code=None, message="cannot")
        self.judged.append(asked)
        verdict = {"faithfulness": 1, "visual_correctness": 0.5, "text_accuracy": 0, "aesthetics": 1}
        return completion(json.dumps({"rationale": f"{len(request.pictures)} pictures", **verdict}))


def knowgen_rows(run_dir: Path) -> list[str]:
    """Write four held-out tasks as a KnowGen file; returns their requests."""
    rows = [json.loads(line) for line in (run_dir / "tasks" / "heldout.jsonl").read_text().splitlines()[:4]]
    for row, category in zip(rows, ("Biology", "anime", "physics", "film"), strict=True):
        row |= {"meta": {"category": category, "difficulty": "easy"}, "id": f"kg-{row['id']}"}
    (run_dir / "tasks" / "knowgen.json").write_text(json.dumps(rows))
    return [row["prompt"] for row in rows]


async def run_knowgen(run_dir: Path, judge: ChatJudge, arms: str, *words: str) -> list[dict[str, Any]]:
    async with LocalChatServer(judge) as server:
        done = await asyncio.to_thread(
            run,
            *("bench", "experiment=smoke", f"run_dir={run_dir}", "bench.tasks=null", f"bench.arms=[{arms}]"),
            *("benchmark=knowgen", f"bench.benchmark.rows=[{run_dir}/tasks/knowgen.json]", "bench.benchmark.tries=1"),
            *("judge=openai", f"judges.image.server.base_url={server.base_url}", "judges.image.server.key=null"),
            *words,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    table = json.loads((run_dir / "bench" / "knowgen" / "standings.json").read_text())
    return table["arms"]


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
async def test_a_published_benchmark_is_searched_drawn_and_judged_by_one_command(run_dir: Path) -> None:
    requests = knowgen_rows(run_dir)
    judge = ChatJudge(broken=requests[0])
    (arm,) = await run_knowgen(run_dir, judge, "sft+grpo")
    assert (arm["arm"], arm["rows"], arm["judged"], arm["failed"]) == ("sft+grpo", 4, 3, {"judge": 1})
    assert arm["excluded"]["overall"]["value"] == pytest.approx(100 * (0.1 + 0.2 + 0.1))
    assert arm["zero"]["strata"]["science & knowledge"]["value"] == pytest.approx(50 * (0.1 + 0.2 + 0.1))
    assert sorted(judge.judged) == sorted(requests[1:]), "what the judge reads is the request, once per row"


@pytest.mark.slow
@pytest.mark.timeout(ALONE_S)
async def test_a_published_benchmark_that_is_run_again_does_only_what_failed(run_dir: Path) -> None:
    requests, folder = knowgen_rows(run_dir), run_dir / "bench" / "knowgen"
    await run_knowgen(run_dir, ChatJudge(broken=requests[0]), "no-search,sft+grpo")
    journals = {name: folder / f"{name}.jsonl" for name in ("searches", "pictures")}
    before = {name: path.read_bytes() for name, path in journals.items()}
    assert len(before["searches"].splitlines()) == 4, "the arm that does not search has nothing to remember"
    verdicts = len((folder / "verdicts.jsonl").read_bytes().splitlines())
    arms = await run_knowgen(run_dir, ChatJudge(broken=""), "no-search,sft+grpo")
    assert [arm["judged"] for arm in arms] == [4, 4]
    assert {name: path.read_bytes() for name, path in journals.items()} == before, "nothing is searched or drawn again"
    assert len((folder / "verdicts.jsonl").read_bytes().splitlines()) > verdicts
