"""Signals that ask a run to end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from gen_searcher.commands.grpo import STOPPING, stops_on_signals
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
