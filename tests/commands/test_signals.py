"""Signals that ask a run to end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gen_searcher.commands.signals import STOPPING, stops_on_signals
from gen_searcher.errors import Interrupted
from gen_searcher.train.stop import Stop


@pytest.mark.fault(6)
@pytest.mark.parametrize("number", STOPPING)
async def test_a_signal_interrupts_waiting_and_leaves_no_handler_behind(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stops_on_signals(stop):
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted, match="run the same command again to continue") as caught:
            await stop.unless(asyncio.Event().wait())
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) == before


async def test_what_is_waited_for_is_cancelled_and_work_that_ended_first_counts() -> None:
    async def seven() -> int:
        return 7

    stop = Stop()
    assert await stop.unless(seven()) == 7
    stop.ask()
    waiting = asyncio.ensure_future(asyncio.Event().wait())
    with pytest.raises(Interrupted):
        await stop.unless(waiting)
    assert waiting.cancelled()


@pytest.mark.fault(6)
def test_sigterm_before_training_has_begun_leaves_with_the_code_that_says_run_me_again(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "gen_searcher",
        "world",
        "serve",
        "experiment=smoke",
        f"run_dir={tmp_path / 'run'}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it serves
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said.splitlines()[-1] == "gen-searcher: interrupted; run the same command again to continue"
