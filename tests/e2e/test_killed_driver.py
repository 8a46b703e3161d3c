"""The real driver, ended by SIGKILL and by SIGTERM, and started again by the same command."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.bench.killed_driver import command, issued, measure, wait_for_work, whole_run
from tests.faults.invariants import check_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.fault(5)
def test_twenty_kills_lose_nothing_and_end_with_the_same_weights() -> None:
    figures = measure(kills=20, seed=0, repeat=False)
    assert figures["kills"] >= 15, "a kill may come after the end of the last step"
    assert figures["lost"] == figures["twice"] == figures["orphans"] == 0
    assert figures["bit_equal"] == 1


@pytest.mark.fault(6, 7)
def test_a_terminated_run_saves_its_step_exits_with_75_and_goes_on(tmp_path: Path) -> None:
    run_dir, log = tmp_path / "run", tmp_path / "log"
    subprocess.run(command("sft", run_dir), check=True, timeout=600)
    process = subprocess.Popen(command("grpo", run_dir), stderr=subprocess.PIPE, text=True)
    wait_for_work(process, run_dir)  # pyright: ignore[reportArgumentType]  # only polled
    rival = subprocess.run(command("grpo", run_dir), capture_output=True, text=True, timeout=600, check=False)
    assert rival.returncode == 3
    assert f"is being written by process {process.pid} on" in rival.stderr
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75, said[-3000:]
    words, last = said.strip().splitlines()[-2:]
    assert words.endswith("run the same command again to continue")
    assert json.loads(last)["exit_code"] == 75
    before = issued(run_dir / "grpo" / "ledger.sqlite")
    whole_run(run_dir, log)
    assert "grpo continues at step" in log.read_text()
    found = check_run(run_dir, steps=5, group_size=2, groups_per_step=2)
    assert found.begun == len(found.used)
    assert before < issued(run_dir / "grpo" / "ledger.sqlite")
    rows = [json.loads(line) for line in (run_dir / "grpo" / "attempts.jsonl").read_text().splitlines()]
    assert sum(row["kind"] == "attempt" for row in rows) == 5 * 2 * 2
