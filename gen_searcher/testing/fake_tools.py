"""Fake tools: results by tool name, in the order in which they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gen_searcher.errors import WorldError
from gen_searcher.types import ToolCall, ToolResult


class FakeTools:
    """A `Tools` that is a fake: it replays results and remembers the calls. A WorldError in the script is raised."""

    def __init__(self, results: Mapping[str, Sequence[ToolResult | WorldError]]) -> None:
        """`results` by tool name; the last one of a tool is given for ever."""
        self._results = results
        self.calls: list[ToolCall] = []
        self.trajectory_ids: list[str] = []

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        """The next result of this tool."""
        asked = sum(before.name == call.name for before in self.calls)
        self.calls.append(call)
        self.trajectory_ids.append(trajectory_id)
        script = self._results[call.name]
        result = script[min(asked, len(script) - 1)]
        if isinstance(result, WorldError):
            raise result
        return result
