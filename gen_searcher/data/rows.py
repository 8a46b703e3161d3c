"""The pipeline's nouns. Every stage makes a new row from the one before; none fills in a field.

Proposal -> Collected -> Drawn -> Verified -> Placed
    from any of them: a Reject, with its reason
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from gen_searcher.types import Facts, Grounding, ImageRef, Judgement, Task, ToolKind

NEEDS_SEARCH, CORRECTNESS, FAITHFULNESS = "needs_search", "correctness", "faithfulness"
AESTHETICS, LEGIBILITY, SAFETY = "aesthetics", "legibility", "safety"
DIMENSIONS = (NEEDS_SEARCH, CORRECTNESS, FAITHFULNESS, AESTHETICS, LEGIBILITY, SAFETY)
"""What a row is scored on, each 0..1."""


class StageName(StrEnum):
    """The stages that make rows, in their order."""

    PROPOSE = "propose"
    COLLECT = "collect"
    DRAW = "draw"
    VERIFY = "verify"
    DEDUPE = "dedupe"
    SPLIT = "split"
    EXPORT = "export"


SplitName = Literal["sft", "rl", "heldout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request comes from."""

    source: str
    """Name of the source in the settings."""
    kind: str
    """`world`, `rows`, `qa` or `writer`."""
    place: str
    """File and line, the writer's model, or the world's template."""
    licence: str
    """Empty when nobody states one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A request for a picture."""

    id: str
    prompt: str
    meta: Mapping[str, str]
    """`category` and `difficulty` at least; keys are data."""
    facts: Facts
    origin: Origin
    target: ImageRef | None = None
    """A ground truth that came with it; it is then not drawn again."""

    @property
    def task(self) -> Task:
        """As the agent and the judges know it."""
        return Task(id=self.id, prompt=self.prompt, target=self.target, facts=self.facts, meta=self.meta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One message of a conversation; `<image>` stands for a picture."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A tool call that was made, and how it went."""

    tool: str
    kind: ToolKind
    canaries: tuple[str, ...] = ()
    """Signs of an injection in what it brought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a teacher did with a request, as text: the student's tokenizer comes later."""

    messages: tuple[Words, ...]
    images: tuple[ImageRef, ...]
    """Views, in the order of their `<image>`."""
    steps: tuple[Step, ...]
    grounding: Grounding
    teacher: str
    cost_usd: float
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The ground truth of a request."""

    image: ImageRef
    generator: str
    """`given` for one that came with the request."""
    cost_usd: float
    """List price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of a row's quality."""

    scores: Mapping[str, float | None]
    """Dimension to 0..1; None where it does not apply. Also each judge without dimensions, by its name."""
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """A request that was worked on."""

    proposal: Proposal
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """... and drawn."""

    proposal: Proposal
    work: Work
    picture: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """... and scored."""

    proposal: Proposal
    work: Work
    picture: Picture
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """... and given to a split."""

    proposal: Proposal
    work: Work
    picture: Picture
    verdict: Verdict
    split: SplitName


class Row(Protocol):
    """What all of them but a bare request share."""

    @property
    def proposal(self) -> Proposal:
        """The request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A row that goes no further, and why."""

    stage: str
    id: str
    """Empty when it cannot be known."""
    reason: str
    """A word that can be counted, e.g. `low_correctness`."""
    details: str
    file: str = ""
    """Where the row stood before this stage."""
    line: int = 0
    """Counted from 1; 0 for a row of no file."""


class Rejected(Exception):
    """Raised by a stage's work: this row goes no further. Trying again changes nothing."""

    def __init__(self, reason: str, details: str, cost_usd: float = 0.0) -> None:
        """`cost_usd`: what was paid before it was known."""
        super().__init__(reason, details, cost_usd)
        self.reason = reason
        self.details = details
        self.cost_usd = cost_usd
