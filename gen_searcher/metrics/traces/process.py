"""Traces of one process: begin when it starts to work, flush before somebody ends it. Off, nothing is even imported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gen_searcher.abandoned import can_be_abandoned
from gen_searcher.config.trace import TraceConfig
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.traces.spans import Recording, record_with, recording

if TYPE_CHECKING:
    from gen_searcher.metrics.traces.otlp import OtlpRecorder

log = logging.getLogger(__name__)

FLUSH_S = 5.0
"""Longest wait for the receiver when a process is about to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSetup:
    """What a process needs to know to trace."""

    config: TraceConfig
    """With an endpoint."""
    run: str
    """Name of the run."""

    @classmethod
    def of(cls, config: TraceConfig, *, run: str) -> TraceSetup | None:
        """None when nothing is traced."""
        return None if config.endpoint is None or config.sample == 0.0 else cls(config=config, run=run)


@dataclass(slots=True, kw_only=True)
class _Exports:
    recorder: OtlpRecorder | None = None


_EXPORTS = _Exports()
"""Of the process, as what it records is."""


def start(setup: TraceSetup | None, *, role: str, node: str | None = None) -> None:
    """Trace from here on; does nothing without a setup, or where this process traces already.

    Preflight has looked at what this needs. Where a worker lacks it nevertheless, it says so and works without traces.

    Args:
        setup: None when nothing is traced.
        role: What the process is: `driver`, `rollout`, ...
        node: Ray's id of the node.
    """
    if setup is None or setup.config.url is None or recording() is not None:
        return
    try:
        from gen_searcher.metrics.traces.otlp import OtlpRecorder, Process

        headers = {name: secret.reveal() for name, secret in setup.config.headers.items()}
    except (ConfigError, ImportError) as error:
        log.warning("traces: this %s process sends none: %s", role, error)
        return
    process = Process(run=setup.run, role=role, node=node)
    _EXPORTS.recorder = OtlpRecorder(setup.config.url, headers=headers, process=process)
    record_with(Recording(recorder=_EXPORTS.recorder, share=setup.config.sample))


async def flush() -> None:
    """Return when the receiver has taken what waits, or after `FLUSH_S`."""
    if _EXPORTS.recorder is not None:
        await _within_deadline(_EXPORTS.recorder.flush)


async def stop() -> None:
    """Trace no more; return when the receiver has taken what waits, or after `FLUSH_S`."""
    recorder, _EXPORTS.recorder = _EXPORTS.recorder, None
    record_with(None)
    if recorder is not None:
        await _within_deadline(recorder.close)


async def _within_deadline(work: Callable[[], None]) -> None:
    """In a thread that nobody joins: the loop's own threads would hold up the end of the process."""
    working = asyncio.ensure_future(can_be_abandoned(work))
    try:
        await asyncio.wait({working}, timeout=FLUSH_S)
    finally:
        working.cancel()
    if not working.done() or working.exception() is not None:
        log.warning("traces: the last spans were not taken within %g s and may be missing", FLUSH_S)
