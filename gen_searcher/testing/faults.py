"""Wrappers that fail at chosen calls and otherwise do what the real thing does."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from gen_searcher.errors import GeneratorError, JudgeError, ProviderError, WorldError
from gen_searcher.protocols import Generator, Judge, Tools
from gen_searcher.types import Grounding, ImageRef, Judgement, Task, ToolCall, ToolResult, Trajectory


def share_of_calls(frac: float, *, calls: int, seed: int) -> frozenset[int]:
    """`round(frac * calls)` call numbers of 1 to `calls`: an outage of exactly that share, the same for the same seed."""
    return frozenset(random.Random(seed).sample(range(1, calls + 1), round(frac * calls)))


class Schedule:
    """Counts calls, the first is 1, and raises at the chosen ones."""

    def __init__(self, fail_on: Collection[int], error: Callable[[str], WorldError]) -> None:
        """`error` makes what is raised from a message."""
        self._fail_on = frozenset(fail_on)
        self._error = error
        self.calls = 0

    def tick(self) -> None:
        """Count one call; raise when it is one of the chosen."""
        self.calls += 1
        if self.calls in self._fail_on:
            raise self._error(f"planted fault at call {self.calls}")


class FlakyJudge:
    """A `Judge` that loses the chosen calls."""

    def __init__(self, judge: Judge, *, fail_on: Collection[int]) -> None:
        """`fail_on` are call numbers, from 1."""
        self._judge = judge
        self.schedule = Schedule(fail_on, JudgeError)

    @property
    def name(self) -> str:
        """Of the judge inside."""
        return self._judge.name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """What the judge inside says, or JudgeError."""
        self.schedule.tick()
        return await self._judge.judge(task, trajectory, image)


class FlakyGenerator:
    """A `Generator` that loses the chosen calls."""

    def __init__(self, generator: Generator, *, fail_on: Collection[int]) -> None:
        """`fail_on` are call numbers, from 1."""
        self._generator = generator
        self.schedule = Schedule(fail_on, GeneratorError)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """What the generator inside draws, or GeneratorError."""
        self.schedule.tick()
        return await self._generator.generate(grounding, seed=seed)


class FlakyTools:
    """`Tools` that lose the chosen calls: an outage, not a failed result."""

    def __init__(self, tools: Tools, *, fail_on: Collection[int]) -> None:
        """`fail_on` are call numbers over all tools, from 1."""
        self._tools = tools
        self.schedule = Schedule(fail_on, lambda message: ProviderError(message, stage="search"))

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        """What the tools inside answer, or ProviderError at stage `search`."""
        self.schedule.tick()
        return await self._tools.call(call, trajectory_id=trajectory_id)
