"""A learner rank: one process of a DeepSpeed or FSDP2 group."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ray

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, ObjectiveConfig
from gen_searcher.config.optim import OptimConfig
from gen_searcher.engines.learner_rank import LearnerRank, Mode
from gen_searcher.engines.rank_group import MeetingStore, Place, find, meet
from gen_searcher.grpo.pack import Row
from gen_searcher.image_store import ImageStore
from gen_searcher.types import StepReport


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSpec:
    """What the learner is built from."""

    policy_folder: str
    optim: OptimConfig
    images: str
    """Folder of the image store."""
    mode: Mode
    temperature: float
    """At which the rollouts are sampled."""
    banned_ids: tuple[int, ...]
    """Tokens without probability while sampling."""
    objective: ObjectiveConfig = DEFAULT_OBJECTIVE
    """What reinforcement learning optimises; imitation does not read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where the ranks find each other."""

    address: str
    port: int


class LearnerActor:
    """The learner's share of one process."""

    def __init__(self, spec: LearnerSpec) -> None:
        """Nothing heavy yet: the ranks first agree on where to meet."""
        self._spec = spec
        self._opened: MeetingStore | None = None

    async def ready(self) -> bool:
        """True once it is there; what it lost when it died is in checkpoints only."""
        return True

    async def meeting(self, world: int) -> Meeting:
        """Open an address that the other ranks can reach, asked of rank 0."""
        address = ray.util.get_node_ip_address()
        self._opened = meet(address, world=world)
        return Meeting(address=address, port=self._opened.port)

    async def setup(self, rank: int, world: int, meeting: Meeting, device: str) -> bool:
        """Load the policy onto `cpu` or `cuda`, the one device that Ray gave this process, and meet the other ranks."""
        store = find(meeting.address, meeting.port, world=world, opened=self._opened)
        address = ray.util.get_node_ip_address()
        place = Place(rank=rank, world=world, store=store, address=address, device=device)
        self._rank = LearnerRank(
            Path(self._spec.policy_folder),
            optim=self._spec.optim,
            objective=self._spec.objective,
            store=ImageStore(Path(self._spec.images)),
            place=place,
            temperature=self._spec.temperature,
            banned_ids=self._spec.banned_ids,
        )
        return True

    async def step(self, rows: tuple[Row, ...], trained_tokens: int, samples: int) -> StepReport:
        """One optimizer step."""
        return self._rank.step(rows, trained_tokens=trained_tokens, samples=samples, mode=self._spec.mode)

    async def logprobs(self, rows: tuple[Row, ...]) -> list[tuple[float, ...]]:
        """Log-probabilities of the trained tokens of each sample of the rows."""
        return self._rank.logprobs(rows)

    async def export(self, path: str) -> None:
        """Write the weights for the rollout workers."""
        self._rank.export(Path(path))

    async def save(self, folder: str) -> None:
        """Write a checkpoint."""
        self._rank.save(Path(folder))

    async def load(self, folder: str) -> None:
        """Continue from a checkpoint."""
        self._rank.load(Path(folder))
