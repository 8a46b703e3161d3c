"""T*: the shortest time in which a cluster could do some work, whatever its scheduler.

    T* = max(engine work / engine capacity, drawing work / generator capacity, judging work / judge capacity,
             learner work, longest attempts of the staleness windows,
             seconds of cores that all of it takes / cores, when one machine does everything)

The last: a group that is trained in step s was started when version `s - 1 - max_staleness` was published or later, so any
`max_staleness + 1` steps in a row take at least as long as the longest attempt that the last of them trains on, and its
learning and publishing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.plan.shape import Shape, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the attempts of a step ask of the pools, in seconds as they would take alone."""

    engines_s: float
    generators_s: float
    judges_s: float
    learner_s: float
    longest_s: float
    """Everything that the longest of the trained attempts does, one after another, with nothing to wait for."""

    @classmethod
    def of(cls, workload: Workload, seeds: Sequence[int], *, trained: Sequence[int], ranks: int) -> Work:
        """Of the attempts with these seeds; `trained` are those that a step learned from."""
        engines_s = generators_s = judges_s = 0.0
        wanted = set(trained)
        longest_s = 0.0
        for seed in seeds:
            search = workload.search(seed)
            engine_s = sum(search.turns_s)
            draw_s = workload.drawing_s(seed) if search.is_grounded else 0.0
            verdicts = [
                workload.judging_s(seed, judge=judge) for judge in range(len(workload.judges_s)) if search.is_grounded
            ]
            engines_s += engine_s
            generators_s += draw_s
            judges_s += sum(verdicts)
            if seed in wanted:
                path_s = engine_s + sum(search.tools_s) + draw_s + max(verdicts, default=0.0)
                longest_s = max(longest_s, path_s)
        return cls(
            engines_s=engines_s,
            generators_s=generators_s,
            judges_s=judges_s,
            learner_s=len(trained) * workload.learn_s / ranks,
            longest_s=longest_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Seconds below which the work cannot be done, by what it waits for."""

    engines_s: float
    generators_s: float
    judges_s: float
    learner_s: float
    windows_s: float
    cores_s: float = 0.0

    @property
    def parts(self) -> dict[str, float]:
        """By name."""
        return {
            "engines": self.engines_s,
            "generators": self.generators_s,
            "judges": self.judges_s,
            "learner": self.learner_s,
            "longest attempts": self.windows_s,
            "cores": self.cores_s,
        }

    @property
    def total_s(self) -> float:
        """T*."""
        return max(self.parts.values())

    @property
    def bottleneck(self) -> str:
        """What T* waits for."""
        return max(self.parts, key=lambda name: self.parts[name])


def limit(steps: Sequence[Work], workload: Workload, shape: Shape) -> Limit:
    """T* of some steps in a row that do this work."""
    spans_s = [work.longest_s + work.learner_s + workload.publish_s for work in steps]
    learner_s = sum(work.learner_s for work in steps)
    engines_s = sum(work.engines_s for work in steps) / shape.engines.capacity
    generators_s = sum(work.generators_s for work in steps) / shape.generators.capacity
    judges_s = sum(work.judges_s for work in steps) / shape.judges.capacity
    core_s = (
        engines_s * shape.engines.workers * shape.engines.kind.threads
        + generators_s * shape.generators.workers * shape.generators.kind.threads
        + judges_s * shape.judges.workers * shape.judges.kind.threads
        + learner_s * shape.learner_threads
    )
    return Limit(
        engines_s=engines_s,
        generators_s=generators_s,
        judges_s=judges_s,
        learner_s=learner_s,
        windows_s=sum(spans_s) / (shape.max_staleness + 1),
        cores_s=0.0 if shape.cores is None else core_s / shape.cores,
    )
