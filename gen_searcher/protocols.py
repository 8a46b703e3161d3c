"""The seams. Implementations do not inherit from these; a pool of X is an X."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image

    from gen_searcher.drawing import Capability, DrawOrder, OwnPicture
    from gen_searcher.types import (
        Batch,
        Completion,
        Grounding,
        ImageRef,
        Judgement,
        Prompt,
        Sample,
        Sampling,
        StepReport,
        Task,
        ToolCall,
        ToolResult,
        Trajectory,
        WeightSource,
    )
    from gen_searcher.web import Hit, ImageHit, Page, Summary


class PolicyEngine(Protocol):
    """Samples from the policy (vLLM)."""

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Sample one completion. Raises WorldError when the engine is gone."""
        ...

    async def load_weights(self, version: int, source: WeightSource) -> None:
        """Return once new tokens come from `version`."""
        ...


class Tools(Protocol):
    """Everything the agent can call, behind one door."""

    async def call(self, call: ToolCall, *, trajectory_id: str) -> ToolResult:
        """Run one validated call. A page that is not there is a `FAILED` result; an outage raises WorldError."""
        ...


class Searcher(Protocol):
    """An agent with its tools."""

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """Work on the task until an outcome. Raises WorldError when the world fails."""
        ...


class Reviser(Protocol):
    """An agent that looks at what came of its answer."""

    async def revise(self, trajectory: Trajectory, drawn: OwnPicture, *, seed: int) -> Trajectory:
        """The grounded trajectory and one more turn; the same trajectory where its budgets leave no room for one.

        Raises WorldError when the world fails.
        """
        ...


class ImageModel(Protocol):
    """What a plug-in author writes: pixels in, pixels out."""

    async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
        """Draw one RGB picture. Anything raised here becomes a `Lost` attempt, but `GeneratorRefused` and `GeneratorGone`."""
        ...


@runtime_checkable
class BatchImageModel(ImageModel, Protocol):
    """An `ImageModel` that draws several pictures in one call."""

    def batch_shape(self, order: DrawOrder) -> str:
        """Orders with equal shapes can go into one batch."""
        ...

    async def draw_batch(self, orders: Sequence[DrawOrder]) -> Mapping[str, Image]:
        """One picture per order, by the order's id. A picture must not depend on what else is in the batch."""
        ...


@runtime_checkable
class DeclaresCapability(Protocol):
    """An image model's class that says what it can do, before it is built."""

    def declare(self, keywords: Mapping[str, object]) -> Capability:
        """The capability of what the constructor would build from `keywords`; a static method of the class."""
        ...


@runtime_checkable
class DeclaresLocal(Protocol):
    """A judge's, an image model's or a search provider's class that asks nobody outside.

    It costs nothing, and a replay asks a judge or an image model again instead of the cassette.
    """

    is_local: bool
    """True when equal questions get equal answers wherever the package is installed."""


@runtime_checkable
class HasStanding(Protocol):
    """A hosted service's class that can say, by a request that costs nothing, whether it would serve us."""

    async def standing(self) -> str:
        """What it says in a few words, e.g. what is left. Raises ProviderError when it would not serve."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Generator(Protocol):
    """What the loop sees: references in, reference out."""

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """Draw the grounding and store the picture. Raises GeneratorError."""
        ...


class Judge(Protocol):
    """Scores one aspect of an attempt."""

    @property
    def name(self) -> str:
        """`image`, `text`, ...: the key that `compose` blends by."""
        ...

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Give a verdict or raise JudgeError; never a default score."""
        ...


class SearchProvider(Protocol):
    """Finds pages."""

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Best first; empty when nothing matches. Raises ProviderError."""
        ...


class ImageSearchProvider(Protocol):
    """Finds pictures."""

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Best first; empty when nothing matches. Raises ProviderError."""
        ...


class PageReader(Protocol):
    """Reads pages."""

    async def read(self, url: str) -> Page | None:
        """The page, or None when the server says there is none. Raises ProviderError."""
        ...


class Scorer(Protocol):
    """Says how likely the current weights find what was sampled; nothing is learned."""

    async def logprobs(self, batch: Batch) -> Mapping[Sample, tuple[float, ...]]:
        """Log-probabilities of each sample's trained tokens, in their order."""
        ...


class Summarizer(Protocol):
    """Says what a page says about a question."""

    async def summarize(self, page: Page, *, query: str) -> Summary:
        """What bears on the query; an empty text when nothing does. Raises ProviderError."""
        ...


class Learner(Protocol):
    """Holds the trained weights (DeepSpeed)."""

    async def step(self, batch: Batch) -> StepReport:
        """One optimizer step."""
        ...

    async def publish(self, version: int) -> None:
        """Return once every rollout worker samples from `version`."""
        ...

    async def save(self, path: Path) -> None:
        """Write a checkpoint that `load` and Hugging Face both read."""
        ...


class Tracker(Protocol):
    """Somebody else's home for the numbers of a run. Built with the keyword `run` (`metrics/trackers/run_info.py`)."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of one step. What it raises is logged and stops nothing."""
        ...

    def close(self) -> None:
        """No more numbers."""
        ...
