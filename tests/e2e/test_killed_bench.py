"""A benchmark whose process is killed in the middle goes on where it was."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from gen_searcher.testing.chat_server import ChatReply, ChatRequest, LocalChatServer, completion

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")
ROWS = 12

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class KillingJudge:
    """Answers; at the question that `kill_at` names it kills who asks."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.process: asyncio.subprocess.Process | None = None
        self.asked: Counter[str] = Counter()

    async def __call__(self, request: ChatRequest) -> ChatReply:
        self.asked[request.text] += 1
        if self.asked.total() == self.kill_at and self.process is not None:
            self.process.send_signal(signal.SIGKILL)
        of_picture = {"faithfulness": 1, "visual_correctness": 1, "text_accuracy": 1, "aesthetics": 1}
        verdict = of_picture if "on the drawing" in request.text else {"score": 1}
        return completion(json.dumps({"rationale": "r", **verdict}))


def drawn(folder: Path) -> Path:
    rows: list[dict[str, object]] = []
    for number in range(ROWS):
        Image.new("RGB", (8 + number, 8)).save(folder / f"{number}.png")
        meta = {"category": ("art", "game")[number % 2], "difficulty": "easy"}
        rows.append(
            {
                "id": number, "prompt": f"Draw {number}.", "meta": meta, "gt_image": f"{number}.png",
                "output_path": f"{number}.png", "success": True,
            }
        )  # fmt: skip
    (folder / "results.json").write_text(json.dumps(rows))
    return folder / "results.json"


async def killed_and_again(judge: KillingJudge, run_dir: Path, *settings: str) -> list[int]:
    """Exit codes of the same command, given twice."""
    async with LocalChatServer(judge) as server:
        words = (
            *("bench", "experiment=smoke", f"run_dir={run_dir}", "judge=openai", *settings),
            *(f"judges.image.server.base_url={server.base_url}", "judges.image.server.key=null"),
            "judges.image.server.concurrency=1",
        )
        codes: list[int] = []
        for _ in range(2):
            judge.process = await asyncio.create_subprocess_exec(PROGRAM, *words, stderr=asyncio.subprocess.DEVNULL)
            codes.append(await judge.process.wait())
    return codes


async def test_no_verdict_on_the_runs_own_tasks_is_asked_for_twice_but_the_one_in_flight(tmp_path: Path) -> None:
    judge = KillingJudge(kill_at=6)
    settings = (f"bench.tasks={ROWS}", f"tasks.heldout_count={ROWS}", "bench.arms=[no-search,untrained]")
    codes = await killed_and_again(judge, tmp_path / "run", *settings)
    assert codes == [-signal.SIGKILL, 0]
    assert len(judge.asked) == 2 * ROWS, "each picture and each grounding"
    assert judge.asked.total() <= 2 * ROWS + 2, "but for the one in flight at each judge once"
    arms = json.loads((tmp_path / "run" / "bench" / "table.json").read_text())["arms"]
    assert [(arm["arm"], arm["tasks"]) for arm in arms] == [("no-search", ROWS), ("untrained", ROWS)]
    lines = (tmp_path / "run" / "bench" / "attempts-no-search.jsonl").read_text().splitlines()
    assert len(lines) == ROWS


async def test_no_verdict_is_asked_for_twice_but_the_one_in_flight(tmp_path: Path) -> None:
    judge = KillingJudge(kill_at=6)
    settings = ("bench.arms=[]", "bench.tasks=null", "benchmark=knowgen")
    given = f"bench.benchmark.drawn.mine={drawn(tmp_path)}"
    codes = await killed_and_again(judge, tmp_path / "run", *settings, given)
    assert codes == [-signal.SIGKILL, 0]
    assert {int(text.split("Draw ")[1].split(".")[0]) for text in judge.asked} == set(range(ROWS))
    assert sorted(judge.asked.values()) == [1] * (ROWS - 1) + [2]
    table = json.loads((tmp_path / "run" / "bench" / "knowgen" / "standings.json").read_text())
    assert (table["arms"][0]["judged"], table["arms"][0]["excluded"]["overall"]["value"]) == (ROWS, pytest.approx(100))
