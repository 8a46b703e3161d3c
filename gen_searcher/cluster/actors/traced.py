"""What an actor whose work is traced has beside its work."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (ray is only partly typed)

from __future__ import annotations

import ray

from gen_searcher.metrics.traces.process import TraceSetup, flush, start


class TracedActor:
    """An actor that sends the spans of its work, if there is a setup."""

    async def flush_trace(self) -> bool:
        """Send what waits: the actor is about to be ended. Returns after `process.FLUSH_S` at the latest."""
        await flush()
        return True


def trace_actor(setup: TraceSetup | None, *, role: str) -> None:
    """Trace the process of an actor; call it first of all. Does nothing without a setup."""
    if setup is not None:
        start(setup, role=role, node=ray.get_runtime_context().get_node_id())
