"""The judge's server goes down after the first step of a real run: 75, everything saved, and the same command goes on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion, problem

TEXT_JUDGE = "gen_searcher.rewards.chat.text_judge.ChatTextJudge"
SMALL = ("grpo.steps=3", "grpo.groups_per_step=2", "grpo.group_size=4", "grpo.drop_flat_groups=false")


class Model:
    """Scores by the length of the answer; down from the moment that the run has logged a step, until it is mended."""

    def __init__(self, metrics: Path) -> None:
        self._metrics = metrics
        self.is_mended = False
        self.refused = 0

    async def __call__(self, request: ChatRequest) -> ChatReply:
        if not self.is_mended and self._metrics.exists() and self._metrics.read_text():
            self.refused += 1
            return problem(503, code=None, message="the model is being restarted")
        answer = request.text.partition("<answer>")[2].partition("</answer>")[0]
        return completion(json.dumps({"rationale": "r", "score": len(json.loads(answer)["gen_prompt"]) % 5 / 4}))


@contextmanager
def serving(model: Model) -> Iterator[str]:
    """In a thread of its own; yields the base URL."""
    started, address = threading.Event(), list[str]()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        async with LocalChatServer(model) as server:
            address.append(server.base_url)
            started.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(30)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(30)
        loop.close()


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gen_searcher", *words], capture_output=True, text=True, timeout=3000, check=False
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outage_and_return(run_dir: Path) -> None:
    """From a policy after SFT on."""
    model = Model(run_dir / "grpo" / "metrics.jsonl")
    with serving(model) as base_url:
        server = f"{{base_url: {base_url}, model: m, tries: 1}}"
        words = (
            "grpo",
            "experiment=laptop",
            f"run_dir={run_dir}",
            *SMALL,
            "cluster.outage_wait_s=8",
            "cluster.outage_retry_s=1",
            f"judges.text={{_target_: {TEXT_JUDGE}, server: {server}}}",
        )
        down = command(*words)
        assert down.returncode == 75, down.stderr[-3000:]
        *last, end = down.stderr.strip().splitlines()[-5:]
        assert json.loads(end)["exit_code"] == 75
        assert "gen-searcher: outage since" in down.stderr
        assert any("judge: m: status 503" in line for line in last), last
        assert last[-1].endswith("run the same command again to go on")
        assert down.stderr.count("gen_searcher.train.stream: outage since") == 1, "once, not at every probe"
        assert model.refused > 8
        assert (run_dir / "grpo" / "checkpoints" / "latest").read_text().strip() == "step-1"
        check_records(run_dir)
        model.is_mended = True
        back = command(*words)
    assert back.returncode == 0, back.stderr[-3000:]
    assert "grpo continues at step 2 of 3" in back.stderr
    assert [row["step"] for row in lines(run_dir / "grpo" / "metrics.jsonl")] == [1, 2, 3]


def check_records(run_dir: Path) -> None:
    rows = lines(run_dir / "grpo" / "attempts.jsonl")
    lost = [row["lost"] for row in rows if row["kind"] == "lost"]
    assert {each["stage"] for each in lost if isinstance(each, dict)} == {"judge"}
    for row in rows:
        attempt = row["attempt"]
        if isinstance(attempt, dict) and attempt["image"] is not None:
            assert {each["judge"] for each in attempt["judgements"]} == {"image", "text"}


@pytest.mark.slow
@pytest.mark.fault(12, 38)
@pytest.mark.timeout(7200)
def test_a_run_whose_judge_goes_down_ends_with_75_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert command("sft", "experiment=laptop", "sft.optim.threads=1", f"run_dir={run_dir}").returncode == 0
    outage_and_return(run_dir)
