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

from gen_searcher.plan.shape import AttemptWork, Shape, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one attempt asks of each role, in seconds as they would take alone."""

    engines_s: float
    generators_s: float
    judges_s: float
    learner_s: float
    """On one rank."""
    path_s: float
    """Everything that it does before it is scored, one after another, with nothing to wait for."""

    @classmethod
    def of(cls, work: AttemptWork, *, samples: int = 1, image_judge: int | None = None) -> Asked:
        """Summed up, of an attempt with so many pictures; see `Workload.image_judge`."""
        search = work.search
        look_s = search.look_s if search.is_grounded else None
        looks = 0 if look_s is None else 1
        engines_s = sum(search.turns_s) + (look_s or 0.0)
        judges_s = sum(work.judges_s)
        if image_judge is not None and image_judge < len(work.judges_s):
            judges_s += (samples - 1) * work.judges_s[image_judge]
        return cls(
            engines_s=engines_s,
            generators_s=(samples + looks) * work.draw_s,
            judges_s=judges_s,
            learner_s=work.learn_s,
            path_s=engines_s + sum(search.tools_s) + (1 + looks) * work.draw_s + max(work.judges_s, default=0.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was done between two publishes, in seconds as it would take alone."""

    engines_s: float
    generators_s: float
    judges_s: float
    learner_s: float
    longest_s: float
    """Of the trained attempts."""

    @classmethod
    def of(cls, ended: Sequence[Asked], *, trained: Sequence[Asked], learner_s: float) -> Work:
        """The pools made what `ended`, trained on or not yet; the learner worked on what it `trained`.

        Over many steps both are the same attempts. Over a few, groups that lie finished at the end were made as well,
        and those that lay finished at the beginning were not.
        """
        return cls(
            engines_s=sum(one.engines_s for one in ended),
            generators_s=sum(one.generators_s for one in ended),
            judges_s=sum(one.judges_s for one in ended),
            learner_s=learner_s,
            longest_s=max((one.path_s for one in trained), default=0.0),
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
