"""Settings of the agent, its tools, and where search results come from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gen_searcher.config.adversity import AdversityConfig
from gen_searcher.config.base import Config
from gen_searcher.config.plug import Plug
from gen_searcher.config.sampling import SamplingConfig

EMBEDDED_WEB = "gen_searcher.world.providers.EmbeddedWeb"
"""The provider that can be made adverse."""


class FetchConfig(Config):
    """How pages and pictures are fetched from the web."""

    connect_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds until a connection must stand."""
    total_timeout_s: float = Field(default=20.0, gt=0)
    """Seconds until a whole response must be there, per try and hop."""
    deadline_s: float = Field(default=90.0, gt=0)
    """Seconds for everything: all hops, tries and waits."""
    max_bytes: int = Field(default=5_000_000, gt=0)
    """Largest body, in bytes after decompression."""
    max_redirects: int = Field(default=5, ge=0)
    """Hops that are followed; each is checked like the first."""
    attempts: int = Field(default=3, ge=1)
    """Tries per hop before the host counts as down (connection errors, 429 and 5xx only)."""
    retry_base_s: float = Field(default=0.5, ge=0)
    """Longest wait before the second try in seconds; doubles with each further one. It is drawn from 0 to there."""
    retry_max_s: float = Field(default=20.0, ge=0)
    """Longest wait between two tries in seconds. A host that asks for more (Retry-After) counts as down at once."""
    connections: int = Field(default=64, ge=1)
    """Open connections in all."""
    connections_per_host: int = Field(default=8, ge=1)
    """Open connections to one host."""
    user_agent: str = "gen-searcher"
    """What the fetcher calls itself."""


class ToolsConfig(Config):
    """What the policy is shown, and how much of it."""

    hits_per_search: int = Field(default=5, ge=1, le=10)
    """Pages listed per query; a call's `top_k` can only lower it."""
    images_per_search: int = Field(default=5, ge=1, le=10)
    """Pictures shown per image search; a call's `top_k` can only lower it."""
    view_side_px: int = Field(default=64, ge=32, multiple_of=32)
    """Longest side in px of a picture as the policy sees it."""
    image_side_px: int = Field(default=1024, ge=32, le=4096)
    """Longest side in px of a picture as it is stored for the generator."""
    title_chars: int = Field(default=100, ge=1)
    """Longest title in characters."""
    snippet_chars: int = Field(default=300, ge=1)
    """Longest snippet of a search hit in characters."""
    extract_chars: int = Field(default=2000, ge=1)
    """Longest extract of a page in characters."""
    observation_chars: int = Field(default=6000, ge=1)
    """Longest observation in characters."""
    observation_tokens: int = Field(default=4096, ge=1)
    """Longest text of an observation in the policy's tokens, cut where `observation_chars` has left more. Titles and ids
    of pictures come on top, and their vision tokens: at most (`view_side_px` / 32)² each."""
    canaries: tuple[str, ...] = ()
    """Texts that no observation should hold, e.g. planted ones; they are counted in `tool/injection_canary_count`
    beside the known phrases of an injection."""
    blocked_hosts: tuple[str, ...] = ()
    """Sites that are left out of results and not read, with every name below them: the benchmark's own pages, mirrors of
    its pictures. What is left out is counted in `tool/blocked_count`."""
    cache_entries: int = Field(default=4096, ge=0)
    """Requests per kind (query, page, picture) whose answers are kept for the run; 0 shares only what is under way."""


class AgentConfig(SamplingConfig):
    """Budgets and habits of the agent."""

    max_turns: int = Field(default=10, ge=1)
    """Completions per trajectory; the last one must be the answer."""
    max_tool_calls: int = Field(default=8, ge=0)
    """Tools run per trajectory; the turn after the last one must be the answer."""
    max_context_tokens: int = Field(default=36_000, ge=1)
    """Context length in tokens, completions and vision tokens included."""
    max_turn_tokens: int = Field(default=4096, ge=1)
    """Longest completion in tokens."""
    answer_tokens: int = Field(default=512, ge=1)
    """Room in tokens that an observation must leave for the answer."""
    max_references: int = Field(default=3, ge=0)
    """Most reference pictures in an answer: what the generator can take. The prompt tells the policy."""
    prompt: Literal["full", "brief"] = "full"
    """System prompt: `full` for a capable model, `brief` (under 60 words) for a tiny one."""
    looks: int = Field(default=0, ge=0, le=1, exclude_if=lambda looks: looks == 0)
    """How often the policy is shown the picture drawn from its answer, and may hand in another answer: 0 or 1. A look
    takes one turn of `max_turns`; where budgets leave no room for it the first answer stands. Not written down when 0, so
    that runs without it stay the same runs."""
    today: str | None = None
    """Date told to the policy, YYYY-MM-DD; None tells none, which keeps prompts the same from day to day."""
    tools: ToolsConfig = ToolsConfig()
    """What the tools show."""

    def sampling_like(self, other: SamplingConfig) -> Self:
        """The same agent, sampled as `other` says."""
        return self.model_copy(update=other.model_dump(include=set(SamplingConfig.model_fields)))


class SearchConfig(Config):
    """Where pages and pictures are found."""

    search: Plug
    """The `SearchProvider`."""
    images: Plug
    """The `ImageSearchProvider`."""
    reader: Plug | None = None
    """The `PageReader`; None reads pages through the guarded fetcher."""
    summarizer: Plug | None = None
    """The `Summarizer` of browsed pages; None takes the sentences that share most with the query."""
    world_server: bool = False
    """Serve the embedded world on loopback in each tool worker, and fetch `*.mini.web` from there."""
    fetch: FetchConfig = FetchConfig()
    """How pages and pictures are fetched."""
    adversity: AdversityConfig = AdversityConfig()
    """How far the embedded world misbehaves; only with `world_server`."""

    @model_validator(mode="after")
    def _harms_only_its_own(self) -> Self:
        if self.adversity.is_on and not self.world_server:
            raise ValueError("adversity harms the embedded world only; use search=embedded, or set it to 0")
        return self

    @property
    def search_plug(self) -> Plug:
        """`search`, told of the adversity if there is any and it is the embedded world."""
        return self._told(self.search)

    @property
    def images_plug(self) -> Plug:
        """`images`, told of the adversity if there is any and it is the embedded world."""
        return self._told(self.images)

    def _told(self, plug: Plug) -> Plug:
        if not self.adversity.is_on or plug.target != EMBEDDED_WEB:
            return plug
        told = self.adversity.model_dump(mode="json")
        return Plug(target=plug.target, keywords={**plug.keywords, "adversity": told})
