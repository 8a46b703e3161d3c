"""One worker's calls to one provider: breaker -> lease -> deadline -> call -> retry.

All waiting is on the event loop's clock, so that a loop with a clock of its own decides every case.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from gen_searcher.config.limits import LimitsConfig, RetryConfig
from gen_searcher.errors import (
    BudgetSpent,
    ProviderClosed,
    ProviderDown,
    ProviderError,
    ProviderOverloaded,
    ProviderRefused,
    Refusal,
)
from gen_searcher.tools.breaker import Breaker
from gen_searcher.tools.limits import Accounts, Lease, Usage
from gen_searcher.tools.meter import Meter, pay

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

T = TypeVar("T")

EXIT_CODES = {Refusal.KEY: 3, Refusal.QUOTA: 4}
"""What a run ends with when a provider turns us away: a key is a matter of preflight, credits one of money."""


NEWS_S = 1.0
"""Requests that were refused together ask for the same wait: the account hears of it once."""


class Authority(Protocol):
    """Who grants leases: the accounts of the run, wherever they are."""

    async def exchange(self, provider: str, holder: str, usage: Usage, *, want: int, price_usd: float) -> Lease:
        """See `Account.exchange`."""
        ...


class LocalAuthority:
    """`Authority` for a program of one process."""

    def __init__(self, accounts: Accounts) -> None:
        """The accounts are in this process."""
        self.accounts = accounts

    async def exchange(self, provider: str, holder: str, usage: Usage, *, want: int, price_usd: float) -> Lease:
        """At once."""
        return self.accounts.exchange(provider, holder, usage, want=want, price_usd=price_usd, now_s=_now_s())


class Gate:
    """One worker's door to one provider: nobody passes without a lease."""

    def __init__(
        self, provider: str, authority: Authority, *, holder: str, price_usd: float, want: int, try_s: float = 0.0
    ) -> None:
        """`holder` names this worker among all that share the account; `want`: requests asked for at a time.

        `try_s`: how long a request holds its slot at most.
        """
        self._provider = provider
        self._authority = authority
        self._holder = holder
        self._price_usd = price_usd
        self._want = want
        self._try_s = try_s
        self._lease = Lease(requests=0, slots=None, valid_s=0.0)
        self._until_s = -math.inf
        self._left = self._made = self._running = 0
        self._told_until_s = -math.inf
        self._queue = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def passed(self) -> AsyncGenerator[None]:
        """Wait for a lease and a slot; hold the slot for the length of the block. Raises BudgetSpent."""
        async with self._queue:
            while not await self._may_begin():
                pass
            self._left -= 1
            self._made += 1
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._freed.set()
        if self._running == 0 and self._lease.is_shared and not self._queue.locked():
            async with self._queue:
                await self._exchange(want=0)

    async def told_to_wait(self, wait_s: float) -> None:
        """The provider asks everybody to leave it alone: our lease ends, and the account, told at once, tells the others."""
        until_s = _now_s() + wait_s
        is_news = until_s > self._told_until_s + NEWS_S
        self._told_until_s = max(self._told_until_s, until_s)
        self._left = 0
        if is_news and not self._queue.locked():  # who holds the queue needs a new lease and tells it on the way
            async with self._queue:
                await self._exchange(want=0)

    async def _may_begin(self) -> bool:
        if self._left == 0 or _now_s() > self._until_s:
            await self._exchange(want=self._want)
            if self._left == 0:
                await asyncio.sleep(self._lease.wait_s)
                return False
        if self._lease.slots is not None and self._running >= self._lease.slots:
            self._freed.clear()
            await self._freed.wait()
            return False
        return True

    async def _exchange(self, *, want: int) -> None:
        asked_s, made = _now_s(), self._made
        told_s = max(0.0, self._told_until_s - asked_s)
        usage = Usage(made=made, running=self._running, told_to_wait_s=told_s, try_s=self._try_s)
        self._left = 0
        try:
            self._lease = await self._authority.exchange(
                self._provider, self._holder, usage, want=want, price_usd=self._price_usd
            )
        except BudgetSpent:  # the account has heard of what was made; after another error it is told again
            self._made -= made
            raise
        self._made -= made
        self._left = self._lease.requests
        self._until_s = asked_s + self._lease.valid_s


class Caller:
    """Calls one provider, with patience but not without end."""

    def __init__(
        self,
        provider: str,
        *,
        stage: str,
        authority: Authority,
        limits: LimitsConfig,
        meter: Meter,
        holder: str,
        price_usd: float = 0.0,
        timeout_s: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        """`price_usd` is the provider's own word on a request; the settings go first.

        `timeout_s` is what the provider's own settings allow a request: `limits.retry.try_s` does not cut it short.
        """
        own = limits.of(provider).usd_per_request
        self._provider = provider
        self._stage = stage
        self._retry = limits.retry
        self._try_s = max(limits.retry.try_s, timeout_s)
        self._total_s = max(limits.retry.total_s, self._try_s)
        self._price_usd = price_usd if own is None else own
        self._gate = Gate(
            provider,
            authority,
            holder=f"{holder}/{stage}",
            price_usd=self._price_usd,
            want=limits.lease_requests,
            try_s=self._try_s,
        )
        self._breaker = Breaker(limits.breaker)
        self._meter = meter
        self._rng = rng or random.Random()
        meter.watch(f"tool/{provider}_breaker_open", lambda: float(self._breaker.is_open))

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` brings, tried again as long as that may help.

        Raises:
            ProviderError: After all tries, or when the deadline leaves no time for another one.
            ProviderClosed: The key or the account is refused; no try mends it and no attempt should be lost to it.
            BudgetSpent: Another request would pass the budget.
        """
        deadline_s = _now_s() + self._total_s
        for attempt in range(self._retry.attempts):
            await self._wait_for_breaker(deadline_s)
            try:
                return await self._once(make, deadline_s)
            except (ProviderDown, ProviderOverloaded) as error:
                wait_s = backoff_s(attempt, self._retry, self._rng)
                told_s = (error.retry_after_s or 0.0) if isinstance(error, ProviderOverloaded) else 0.0
                if told_s > 0.0:
                    await self._gate.told_to_wait(told_s)
                is_last = attempt + 1 == self._retry.attempts
                if is_last or _now_s() + max(wait_s, told_s) >= deadline_s:
                    raise
                self._meter.add(f"tool/{self._provider}_retries")
                await asyncio.sleep(wait_s)
        raise AssertionError("attempts is at least 1")

    async def _once(self, make: Callable[[], Awaitable[T]], deadline_s: float) -> T:
        begun = False
        try:
            async with asyncio.timeout_at(deadline_s), self._gate.passed():
                begun = True
                self._meter.add("tool/spent_usd", self._price_usd)
                pay(self._price_usd)
                async with asyncio.timeout(self._try_s):
                    value = await make()
        except TimeoutError:
            if not begun:
                raise ProviderOverloaded(
                    f"{self._provider}: no turn within {self._total_s:g} s (limits.retry.total_s)", self._stage
                ) from None
            self._breaker.failed(_now_s())
            raise ProviderDown(self._too_slow(deadline_s), self._stage) from None
        except (ProviderDown, ProviderOverloaded):
            self._breaker.failed(_now_s())
            raise
        except ProviderRefused as refused:
            self._breaker.answered()
            what = "the key" if refused.refusal is Refusal.KEY else "the account"
            raise ProviderClosed(
                f"{self._stage}: {refused.message} ({what} was refused; the run can be continued once that is mended)",
                EXIT_CODES[refused.refusal],
            ) from None
        except ProviderError:
            self._breaker.answered()
            raise
        self._breaker.answered()
        return value

    def _too_slow(self, deadline_s: float) -> str:
        """Which deadline it was, and where it is set."""
        said = f"{self._provider}: no answer within"
        if _now_s() >= deadline_s:
            return f"{said} {self._total_s:g} s, all tries and waits together (limits.retry.total_s)"
        return f"{said} {self._try_s:g} s (limits.retry.try_s, or the service's own timeout_s where that is longer)"

    async def _wait_for_breaker(self, deadline_s: float) -> None:
        while (wait_s := self._breaker.enter(_now_s())) > 0.0:
            if _now_s() + wait_s >= deadline_s:
                raise ProviderDown(f"{self._provider}: failed too often in a row, not asked again yet", self._stage)
            await asyncio.sleep(wait_s)


def backoff_s(attempt: int, retry: RetryConfig, rng: random.Random) -> float:
    """Full jitter: uniform between 0 and the exponential bound, so that callers who failed together part.

    See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return rng.uniform(0.0, min(retry.max_s, retry.base_s * 2.0**attempt))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
