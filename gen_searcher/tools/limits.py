"""Who may ask a provider how often: the account that hands out leases, with the time passed in. No I/O, no waiting.

    worker --Usage--> Account.exchange --Lease--> worker

One `exchange` reports what the last lease was used for and asks for the next one, so the account is not on the way of
single requests. Money is committed when it is leased: what a worker that died may have spent stays spent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from gen_searcher.config.limits import LimitsConfig, ProviderLimits
from gen_searcher.errors import BudgetSpent, ConfigError

POLL_S = 0.25
"""Seconds until somebody who waits for another's slots or money asks again: nobody knows when they come back."""

UNLIMITED = 10**9
"""Requests in a lease of a provider without any limit or price: it ends only so that everybody hears of a `Retry-After`."""

_PENNY = 1e-9
"""Dollars by which sums of prices may differ from the budget through rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a worker did since its last exchange."""

    made: int = 0
    """Requests begun."""
    running: int = 0
    """Requests under way."""
    told_to_wait_s: float = 0.0
    """Longest time for which the provider asked to be left alone, in seconds from now."""
    try_s: float = 0.0
    """Longest time that the worker lets a request run, where that is more than the account's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a worker may do until its next exchange."""

    requests: int
    """Requests it may begin; 0: none now, ask again after `wait_s`."""
    slots: int | None
    """Requests it may have under way, the running ones included; None for any number."""
    valid_s: float
    """Seconds from the moment it asked within which requests may begin."""
    wait_s: float = 0.0
    is_shared: bool = True
    """Others may need what is left of it: give it back when idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """What a worker holds."""

    requests: int = 0
    slots: int = 0
    until_s: float = -math.inf
    """No request begins after this."""
    slots_until_s: float = -math.inf
    """No request runs after this."""


@dataclass(slots=True, kw_only=True)
class Account:
    """One provider's requests, slots and money. Times are seconds of one clock that never goes back."""

    provider: str
    limits: ProviderLimits
    price_usd: float
    """Of one request."""
    lease_requests: int
    lease_s: float
    try_s: float
    """Longest time that a request runs."""
    spent_usd: float = 0.0
    """Committed before and not returned."""
    _tokens: float = 0.0
    _filled_s: float = -math.inf
    _quiet_until_s: float = -math.inf
    _holdings: dict[str, _Holding] = field(default_factory=dict[str, _Holding])
    _asked_s: dict[str, float] = field(default_factory=dict[str, float])

    def exchange(self, holder: str, usage: Usage, *, want: int, now_s: float) -> Lease:
        """Take back what is left of the holder's lease and grant up to `want` requests; 0 only gives back.

        `holder` is one process and is never used again after it: what it does not report counts as used.

        Raises:
            BudgetSpent: Not even one more request can be paid, whatever others give back.
        """
        self.try_s = max(self.try_s, usage.try_s)
        self._settle(holder, usage, now_s)
        if want <= 0:
            self._asked_s.pop(holder, None)
            return self._none(0.0)
        if self._is_free:
            if self._quiet_until_s > now_s:
                return self._none(self._quiet_until_s - now_s)
            return Lease(requests=UNLIMITED, slots=None, valid_s=self.lease_s, is_shared=False)
        self._asked_s[holder] = now_s
        wait_s = max(self._quiet_until_s - now_s, self._rate_wait_s(now_s))
        if wait_s > 0:
            return self._none(wait_s)
        slots = self._free_slots(holder, usage.running, now_s)
        affordable = self._affordable(holder, now_s)
        if affordable == 0 or (slots is not None and slots <= usage.running):
            return self._none(POLL_S)
        requests = max(1, min(want, self.lease_requests, affordable, math.floor(self._tokens)))
        self._commit(holder, requests=requests, slots=slots, now_s=now_s)
        is_shared = self.limits.concurrency is not None or self.limits.budget_usd is not None
        return Lease(requests=requests, slots=slots, valid_s=self.lease_s, is_shared=is_shared)

    @property
    def committed_usd(self) -> float:
        """Spent, or leased and not yet given back: what the next start of the run must assume to be gone."""
        return self.spent_usd + self.price_usd * sum(held.requests for held in self._holdings.values())

    def _settle(self, holder: str, usage: Usage, now_s: float) -> None:
        """What was made is spent, what was not made comes back."""
        held = self._holdings.get(holder, _Holding())
        self.spent_usd += self.price_usd * usage.made
        self._refill(now_s)
        if held.until_s >= now_s:  # an expired lease has lost its share of the rate
            self._tokens = min(self._capacity, self._tokens + max(0, held.requests - usage.made))
        ends_s = now_s + self.try_s
        self._holdings[holder] = replace(held, requests=0, slots=usage.running, slots_until_s=ends_s)
        if not usage.running:
            del self._holdings[holder]
        if usage.told_to_wait_s > 0:
            self._quiet_until_s = max(self._quiet_until_s, now_s + usage.told_to_wait_s)

    def _commit(self, holder: str, *, requests: int, slots: int | None, now_s: float) -> None:
        self._tokens -= requests
        until_s = now_s + self.lease_s
        self._holdings[holder] = _Holding(
            requests=requests, slots=slots or 0, until_s=until_s, slots_until_s=until_s + self.try_s
        )

    @property
    def _is_free(self) -> bool:
        limits = self.limits
        return limits.requests_per_s is None and limits.concurrency is None and self.price_usd <= 0.0

    @property
    def _capacity(self) -> float:
        return math.inf if self.limits.requests_per_s is None else float(self.limits.burst_requests)

    def _refill(self, now_s: float) -> None:
        rate = self.limits.requests_per_s
        if rate is None or self._filled_s == -math.inf:
            self._tokens = self._capacity if self.limits.requests_per_s is not None else float(self.lease_requests)
        else:
            self._tokens = min(self._capacity, self._tokens + rate * max(0.0, now_s - self._filled_s))
        self._filled_s = now_s

    def _rate_wait_s(self, now_s: float) -> float:
        rate = self.limits.requests_per_s
        if rate is None or self._tokens >= 1.0 - _PENNY:
            return 0.0
        return (1.0 - self._tokens) / rate

    def _free_slots(self, holder: str, running: int, now_s: float) -> int | None:
        """Slots for this holder, running requests included: an equal share, or what the others leave."""
        if self.limits.concurrency is None:
            return None
        others = [held for name, held in self._holdings.items() if name != holder]
        taken = sum(held.slots for held in others if held.slots_until_s >= now_s)
        self._asked_s = {name: s for name, s in self._asked_s.items() if now_s - s <= self.lease_s + self.try_s}
        share = max(1, self.limits.concurrency // len(self._asked_s))
        return max(running, min(share, self.limits.concurrency - taken))

    def _affordable(self, holder: str, now_s: float) -> int:
        """Requests that the money left allows in one lease: the less is left, the smaller the leases."""
        budget, price = self.limits.budget_usd, self.price_usd
        if budget is None or price <= 0.0:
            return self.lease_requests
        left = math.floor((budget - self.committed_usd) / price + _PENNY)
        if left > 0:
            return max(1, left // (2 * (1 + len(self._holdings))))
        others = [held for name, held in self._holdings.items() if name != holder]
        if any(held.requests and held.until_s >= now_s for held in others):
            return 0
        raise BudgetSpent(
            f"{self.provider}: {self.committed_usd:.4f} of {budget:g} USD are spent and the next request costs "
            f"{price:g}; raise limits.providers.{self.provider}.budget_usd and run the same command again"
        )

    def _none(self, wait_s: float) -> Lease:
        return Lease(requests=0, slots=None, valid_s=0.0, wait_s=wait_s)


@dataclass(slots=True, kw_only=True)
class Accounts:
    """The accounts of a run, one per provider, opened when first asked for."""

    config: LimitsConfig
    committed_usd: dict[str, float] = field(default_factory=dict[str, float])
    """Of earlier starts, by provider; kept up to date."""
    _open: dict[str, Account] = field(default_factory=dict[str, Account])

    def exchange(self, provider: str, holder: str, usage: Usage, *, want: int, price_usd: float, now_s: float) -> Lease:
        """See `Account.exchange`. `price_usd` is what the provider says of itself; the settings go first."""
        account = self._open.get(provider)
        if account is None:
            account = self._open[provider] = self._opened(provider, price_usd)
        try:
            return account.exchange(holder, usage, want=want, now_s=now_s)
        finally:
            self.committed_usd[provider] = account.committed_usd

    def _opened(self, provider: str, price_usd: float) -> Account:
        limits = self.config.of(provider)
        price_usd = price_usd if limits.usd_per_request is None else limits.usd_per_request
        at = f"limits.providers.{provider}"
        if limits.budget_usd is not None and price_usd <= 0.0:
            raise ConfigError(f"{at}.budget_usd is set, but no price is known: set {at}.usd_per_request")
        return Account(
            provider=provider,
            limits=limits,
            price_usd=price_usd,
            lease_requests=self.config.lease_requests,
            lease_s=self.config.lease_s,
            try_s=self.config.retry.try_s,
            spent_usd=self.committed_usd.get(provider, 0.0),
        )
