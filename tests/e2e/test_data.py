"""The data pipeline from nothing to a trained policy, and one that is killed in the middle."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")
TASKS = 8
KILL_AT = 5

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(*words: str) -> str:
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_from_nothing_to_a_policy_that_was_trained_on_it(tmp_path: Path) -> None:
    data = tmp_path / "data_run"
    words = ("experiment=laptop_data", f"run_dir={data}", "tasks.train_count=16", "tasks.heldout_count=8")
    out = run("data", "build", *words, "data.propose.sources.world.count=40")
    stages = [line.split(":")[0] for line in out.splitlines()]
    assert stages[:7] == ["propose", "collect", "draw", "verify", "dedupe", "split", "export"]
    folder = data / "data"
    kept = {str(row["proposal"]["id"]) for row in lines(folder / "placed.jsonl")}  # pyright: ignore
    gone = [row for stage in stages[:7] for row in lines(folder / "rejects" / f"{stage}.jsonl")]
    assert kept | {str(row["id"]) for row in gone} == {f"world-{number:05d}" for number in range(1, 41)}
    assert len(kept) + len(gone) == 40
    assert all(row["reason"] and row["details"] for row in gone)
    before = {path.name: path.read_bytes() for path in (folder / "export").glob("*.json*")}
    again = run("data", "build", *words, "data.propose.sources.world.count=40")
    assert all("done before" in line for line in again.splitlines()[:4])
    assert {path.name: path.read_bytes() for path in (folder / "export").glob("*.json*")} == before

    trained = tmp_path / "trained"
    files = (f"sft.demonstrations={folder}/export/sft.jsonl", f"tasks.train={folder}/export/rl.jsonl")
    smoke = ("experiment=smoke", f"run_dir={trained}", "tasks.heldout_count=8", *files, "sft.batch_samples=2")
    run("sft", *smoke)
    run("grpo", *smoke)
    assert (trained / "grpo" / "policy" / "config.json").is_file()
    used = {str(one["task"]) for one in lines(trained / "grpo" / "attempts.jsonl")}
    assert used
    assert used <= {str(row["id"]) for row in lines(folder / "export" / "rl.jsonl")}


class KillingTeacher:
    """Answers every request at once; at its fifth question it kills who asks."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.asked: Counter[str] = Counter()

    async def __call__(self, request: ChatRequest) -> ChatReply:
        self.asked[request.text] += 1
        if self.asked.total() == KILL_AT and self.process is not None:
            self.process.send_signal(signal.SIGKILL)
        return completion('<think>x</think>\n<answer>{"gen_prompt": "a flag", "reference_images": []}</answer>')


async def test_a_killed_stage_asks_nothing_twice_but_what_was_in_flight(tmp_path: Path) -> None:
    teacher = KillingTeacher()
    words = ("experiment=laptop_data", f"run_dir={tmp_path}/run", "tasks.train_count=8", "tasks.heldout_count=8")
    words = (*words, f"data.propose.sources.world.count={TASKS}")
    await asyncio.to_thread(run, "data", "propose", *words)
    async with LocalChatServer(teacher) as server:
        words = (
            *words, "data.collect.teacher=chat", "data.collect.concurrency=1",
            f"data.collect.chat={{base_url: '{server.base_url}', model: teacher}}",
        )  # fmt: skip
        codes: list[int] = []
        for _ in range(2):
            teacher.process = await asyncio.create_subprocess_exec(
                PROGRAM, "data", "collect", *words, stderr=asyncio.subprocess.DEVNULL
            )
            codes.append(await teacher.process.wait())
    assert codes == [-signal.SIGKILL, 0]
    assert sorted(teacher.asked.values()) == [1] * (TASKS - 1) + [2]
    rows = lines(tmp_path / "run" / "data" / "collected.jsonl")
    assert [row["proposal"]["id"] for row in rows] == [f"world-{number:05d}" for number in range(1, TASKS + 1)]  # pyright: ignore
