"""Signals that ask a run to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Generator

from gen_searcher.train.stop import Stop

log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""What asks a run to end."""


@contextlib.contextmanager
def stops_on_signals(stop: Stop) -> Generator[None]:
    """Let SIGTERM and SIGINT ask the run to end; a second one ends it at once. For code in the event loop's main thread.

    Needs to be entered after Ray has started, which brings a handler of its own.
    """
    loop = asyncio.get_running_loop()

    def asked(name: str) -> None:
        if stop.is_asked:
            raise KeyboardInterrupt
        log.warning("%s: ending after what is under way; once more ends it at once", name)
        stop.ask()

    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:
        loop.add_signal_handler(number, asked, number.name)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
