"""The data pipeline: where requests come from, who works on them, what is good enough to keep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gen_searcher.config.base import Config
from gen_searcher.config.plug import Plug
from gen_searcher.config.rewards import ChatServer

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$", max_length=40)]
"""Of a source: the ids of its rows begin with it."""

CATEGORIES = (
    *("anime", "architecture", "art", "astronomy", "biology", "celebrities", "chemistry", "culture", "engineering"),
    *("film", "game", "geography", "history", "industry", "medicine", "physics", "politics", "posters", "religion"),
    "sports",
)
"""The paper's twenty."""


class WorldSource(Config):
    """Training tasks of the embedded world, without their ground truth."""

    kind: Literal["world"]
    """`world`."""
    count: int = Field(ge=1)
    """How many."""
    families: Literal["basic", "all"] = "basic"
    """Which questions they ask, as `tasks.families`."""
    seed: int = 0
    """Which ones."""


class RowsSource(Config):
    """Rows that somebody published: `id`, `prompt`, `meta`, and a ground truth where there is one."""

    kind: Literal["rows"]
    """`rows`."""
    path: Path
    """JSON array or JSON lines."""
    licence: str = ""
    """As its publisher states it; empty = unknown."""


class QaSource(Config):
    """Rows of a research question-answering set: `question`, `answer`, and a `category` where there is one."""

    kind: Literal["qa"]
    """`qa`."""
    path: Path
    """JSON array or JSON lines."""
    licence: str = ""
    """As its publisher states it; empty = unknown."""
    convert: Literal["card", "writer"] = "card"
    """`card` asks for a card with the answer as its caption; `writer` lets the writer make a request of it."""
    category: str = "news"
    """Of rows that name none."""


class WriterSource(Config):
    """Requests that a language model thinks up."""

    kind: Literal["writer"]
    """`writer`."""
    categories: tuple[str, ...] = CATEGORIES
    """What they are about."""
    per_category: int = Field(default=100, ge=1)
    """Requests per category."""
    batch: int = Field(default=10, ge=1, le=50)
    """Requests per question to the writer."""
    licence: str = ""
    """What the writer's terms say of its output; empty = unknown."""


Source = Annotated[WorldSource | RowsSource | QaSource | WriterSource, Field(discriminator="kind")]


class ProposeConfig(Config):
    """Stage 1: requests."""

    sources: Mapping[Name, Source] = {}
    """Where requests come from, by name."""
    writer: ChatServer | None = None
    """The model that writes requests; needed by sources that ask one."""
    temperature: float = Field(default=1.0, ge=0.0)
    """The writer's sampling temperature: at 0 it would think up the same again and again."""
    max_prompt_chars: int = Field(default=600, ge=16)
    """A longer request is rejected, in characters."""
    concurrency: int = Field(default=16, ge=1)
    """Questions to the writer at once."""


class CollectConfig(Config):
    """Stage 2: trajectories."""

    teacher: Literal["scripted", "policy", "chat"] = "scripted"
    """Who works on the requests, always with the run's agent and tools: the embedded world's script (its flaws are
    those of `sft`), a policy of this run, or a model behind a chat-completions server."""
    chat: ChatServer | None = None
    """The `chat` teacher. Its temperature is `agent.temperature`, its longest reply `agent.max_turn_tokens`."""
    policy: Literal["base", "sft", "grpo"] = "sft"
    """Which policy of the run the `policy` teacher is."""
    concurrency: int = Field(default=16, ge=1)
    """Trajectories at once."""


class DrawConfig(Config):
    """Stage 3: ground-truth pictures, by the run's generator."""

    concurrency: int = Field(default=4, ge=1)
    """Pictures at once."""


class VerifyConfig(Config):
    """Stage 4: scores, and the least of each that is good enough."""

    judges: Mapping[str, Plug] = {}
    """Who scores, by any name; none = the run's judges. Scores of the same thing: the lowest counts."""
    floors: Mapping[str, Annotated[float, Field(ge=0.0, le=1.0)]] = {
        "needs_search": 0.5,
        "correctness": 0.5,
        "faithfulness": 0.5,
        "aesthetics": 0.5,
        "legibility": 0.5,
        "safety": 1.0,
    }
    """Least score of each dimension, 0 to 1; what is not named here has none. Beside the six there is the score of
    each judge that gives no dimension, under the judge's name."""
    max_grounding_chars: int = Field(default=2000, ge=16)
    """A longer grounding is rejected, in characters."""
    max_failed_calls: float = Field(default=0.5, ge=0.0, le=1.0)
    """Largest share of a trajectory's tool calls that may have failed."""
    refuse_conflicts: bool = True
    """Reject a trajectory whose search results say two different things of one fact."""
    refuse_injections: bool = True
    """Reject a trajectory that was shown a page which talks to language models."""
    blocked_words: tuple[str, ...] = ()
    """Words that no request or grounding may hold; one of them makes `safety` 0."""
    concurrency: int = Field(default=16, ge=1)
    """Rows that are judged at once."""


class DedupeConfig(Config):
    """Stage 5: what is there already, and what must never be trained on."""

    prompt_similarity: float = Field(default=0.7, gt=0.0, le=1.0)
    """Requests with a Jaccard similarity of their five-letter shingles of at least this count as one."""
    heldout_share: float | None = Field(default=0.8, gt=0.0, le=1.0)
    """A request that holds this share of what is peculiar to a held-out one is that one in other clothes: reworded at the
    start, or inside a longer text. Shingles weigh by how few held-out requests have them; None = not looked for."""
    picture_bits: int | None = Field(default=4, ge=0, le=32)
    """Pictures count as one when their 64-bit difference hashes differ in at most so many bits and their colours agree;
    None = pictures are not compared."""
    heldout: tuple[Path, ...] = ()
    """Task files of benchmarks. Rows that come near one of their requests or ground truths are rejected."""
    own_heldout: bool = True
    """Count the run's held-out tasks, and with the embedded world KnowGen-mini, as such files too."""
    heldout_pictures: bool = True
    """Compare pictures with the held-out ones, not only requests. Off for the embedded world, whose held-out templates
    ask for known pictures in new words."""


class SplitConfig(Config):
    """Stage 6: who is trained with what. Each row falls by a hash of its id: adding rows moves none."""

    sft: float = Field(default=0.6, ge=0.0, le=1.0)
    """Share for supervised fine-tuning."""
    rl: float = Field(default=0.36, ge=0.0, le=1.0)
    """Share for reinforcement learning; the rest is held out."""
    seed: int = 0
    """Another seed, another split."""

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.sft + self.rl > 1.0 + 1e-9:
            raise ValueError(f"sft={self.sft:g} and rl={self.rl:g} are more than 1 together")
        return self


class DataConfig(Config):
    """`gen-searcher data`: everything lands in `run_dir/data/`."""

    rows: Path | None = None
    """Input of a stage that is run alone; None = what the stage before it left."""
    lost: Literal["stop", "reject"] = "stop"
    """What becomes of rows that the outside spoiled after all tries: the command ends with exit code 75 and tries only
    them again, or they are rejected for now and tried again by the next start."""
    propose: ProposeConfig = ProposeConfig()
    """Requests."""
    collect: CollectConfig = CollectConfig()
    """Trajectories."""
    draw: DrawConfig = DrawConfig()
    """Pictures."""
    verify: VerifyConfig = VerifyConfig()
    """Scores and floors."""
    dedupe: DedupeConfig = DedupeConfig()
    """Duplicates and leaks."""
    split: SplitConfig = SplitConfig()
    """Shares."""
