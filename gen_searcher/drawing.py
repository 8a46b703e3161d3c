"""The nouns of drawing: what an image model can do, what it is asked for, and how a picture came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from gen_searcher.types import ImageRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What an image model declares of itself. The defaults are those of a model that declares nothing."""

    max_references: int | None = None
    """Most reference pictures per drawing; None takes any number. Further ones are cut off, and that is recorded."""
    sizes_px: tuple[tuple[int, int], ...] = ()
    """Every (width, height) that it may return; empty: it decides by itself, and any size is taken."""
    takes_seed: bool = True
    """Equal arguments give equal pictures. False: the seed only tells drawings apart in our cache."""
    usd_per_picture: float = 0.0
    """List price; 0 for a model of your own."""
    max_prompt_chars: int | None = None
    """Longest prompt; None takes any. A longer one is a mistake of the policy, which its agent tells it; from anybody else
    it is a `GeneratorInvalid` before anything is sent."""
    batch: int = 1
    """Most pictures per call of `draw_batch`; 1 for a model that draws one at a time."""
    revision: str = ""
    """Which weights or which hosted version; pictures of another revision are never taken for its own."""
    members: tuple[Member, ...] = ()
    """Of a mixture: its models. The seed modulo their number says which one draws; the rest of this capability is what
    all of them can do. Empty for a single model."""

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.max_references is not None and self.max_references < 0) or self.usd_per_picture < 0:
            raise ValueError(f"not a capability: {self}")

    def of(self, seed: int) -> Capability:
        """What the model can do that draws with this seed."""
        return self.members[seed % len(self.members)].capability if self.members else self

    def who(self, seed: int) -> str:
        """Name of the model that draws with this seed; empty when there is one only."""
        return self.members[seed % len(self.members)].name if self.members else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of a mixture."""

    name: str
    capability: Capability


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPicture:
    """What was drawn from the policy's own answer, for the policy to look at."""

    image: ImageRef
    """As it was drawn."""
    cost_usd: float
    """List price."""
    latency_s: float
    """How long it took, its queue included."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawOrder:
    """One picture of a batch."""

    id: str
    """The reply names its picture by it, so that pictures cannot change places."""
    prompt: str
    references: Sequence[Image]
    """RGB, in the order in which the prompt names them."""
    seed: int


class DrawnHow(StrEnum):
    """How an attempt came by its picture, or why it has none."""

    DRAWN = "drawn"
    REUSED = "reused"
    """The picture of a sibling with the same grounding, asked for with the sibling's seed."""
    REFUSED = "refused"
    """The image model declined the content: the policy's doing, worth nothing."""
    UNWANTED = "unwanted"
    """The picture has no share of the reward; the reward is whole without it."""
    SKIPPED = "skipped"
    """The group cannot teach whatever the picture shows; the reward holds the other judges' share alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The record of one attempt's picture."""

    how: DrawnHow
    reason: str = ""
    """In words, for everything but `drawn`; there, of a mixture, the name of the model that drew."""
    seed: int | None = None
    """What the picture was asked for with; None when it was not asked for."""
    cut_references: int = 0
    """References of the grounding that the model was not shown because it takes no more."""
    cost_usd: float = 0.0
    """List price of what was asked for; a picture that the generator still had is counted like a new one."""
    latency_s: float = field(default=0.0, compare=False)
    """How long the picture or its refusal took, the queue included; 0 when none was asked for."""
