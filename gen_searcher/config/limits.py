"""How often, how many at once and for how much money providers are asked, over the whole cluster."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from gen_searcher.config.base import Config


class ProviderLimits(Config):
    """One provider's budget. It holds for the run, however many workers share it; null sets no limit."""

    requests_per_s: float | None = Field(default=None, gt=0)
    """Requests per second."""
    burst_requests: int = Field(default=1, ge=1)
    """Requests that may be made at once after a quiet time; only with `requests_per_s`."""
    concurrency: int | None = Field(default=None, ge=1)
    """Requests under way at once."""
    budget_usd: float | None = Field(default=None, ge=0)
    """Dollars that may be spent in a run directory, earlier attempts included. The run stops (exit code 4) before a
    request that would pass it."""
    usd_per_request: float | None = Field(default=None, ge=0)
    """Dollars that one request is counted with, failed ones too, since nobody says which of them are billed; null takes
    the provider's own `usd_per_request`, or 0."""


PUBLISHED: Mapping[str, ProviderLimits] = {
    "serper": ProviderLimits(requests_per_s=50, burst_requests=50, concurrency=100),
    "brave": ProviderLimits(requests_per_s=50, burst_requests=50, concurrency=100),
    "tavily": ProviderLimits(requests_per_s=1.6, burst_requests=10, concurrency=20),
    "exa": ProviderLimits(requests_per_s=10, burst_requests=10, concurrency=20),
    "jina": ProviderLimits(requests_per_s=0.33, burst_requests=5, concurrency=20),
    "searxng": ProviderLimits(requests_per_s=2, burst_requests=5, concurrency=8),
}
"""What applies to a provider that the settings do not name: what each publishes for its smallest paid plan (Tavily 100 a
minute, Jina 20 a minute without a key), and what a server of one's own and the engines behind it take. Money: none."""


class RetryConfig(Config):
    """How a request that failed is tried again."""

    attempts: int = Field(default=4, ge=1)
    """Tries in all, of requests that another try may mend."""
    base_s: float = Field(default=0.5, ge=0)
    """Longest wait before the second try in seconds; doubles with each further one. The wait is drawn from 0 to there."""
    max_s: float = Field(default=30.0, ge=0)
    """Longest such wait in seconds. A longer `Retry-After` is kept to, if the deadline allows."""
    try_s: float = Field(default=60.0, gt=0)
    """Deadline of one try in seconds; a service whose own `timeout_s` is longer has that."""
    total_s: float = Field(default=180.0, gt=0)
    """Deadline of a request with all its waits in seconds; at least that of one try."""


class BreakerConfig(Config):
    """When a provider is left alone for a while."""

    failures: int = Field(default=10, ge=1)
    """Failed tries in a row after which nobody is sent there."""
    open_s: float = Field(default=30.0, gt=0)
    """Seconds until one request may look whether it is back."""


class LimitsConfig(Config):
    """Limits of the outside world, and what happens at them."""

    providers: Mapping[str, ProviderLimits] = {}
    """Limits by provider: the name of the plug's class in lower case, e.g. `serper`. A name that is not here gets what
    the provider publishes (`PUBLISHED`), and no limit if nothing is known."""
    retry: RetryConfig = RetryConfig()
    """Tries and deadlines."""
    breaker: BreakerConfig = BreakerConfig()
    """When a provider counts as down."""
    lease_requests: int = Field(default=16, ge=1)
    """Requests that a worker is granted at a time; less when a budget is nearly spent or the rate is low."""
    lease_s: float = Field(default=10.0, gt=0)
    """Seconds that such a grant is valid. A worker that dies blocks its share for at most so long."""

    def of(self, provider: str) -> ProviderLimits:
        """The limits of one provider."""
        return self.providers.get(provider) or PUBLISHED.get(provider) or ProviderLimits()
