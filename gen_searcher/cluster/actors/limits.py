"""The one actor that holds the providers' accounts."""

from __future__ import annotations

import time
from pathlib import Path

from gen_searcher.config.limits import LimitsConfig
from gen_searcher.tools.limits import Accounts, Lease, Usage
from gen_searcher.tools.spend import SpendFile

LIMITS_ACTOR = "limits"
"""Its name: workers look it up, so that their restarts and its own do not matter."""


class LimitsActor:
    """`Authority` behind an actor."""

    def __init__(self, config: LimitsConfig, spend_file: str) -> None:
        """What earlier starts of the run committed counts, and what other commands in its directory do."""
        self._spend = SpendFile(Path(spend_file))
        self._accounts = Accounts(config=config, committed_usd=self._spend.news())

    async def ready(self) -> bool:
        """True."""
        return True

    async def exchange(self, provider: str, holder: str, usage: Usage, *, want: int, price_usd: float) -> Lease:
        """See `Account.exchange`. Money is on the disk as committed before anybody may spend it."""
        now_s = time.monotonic()
        with self._spend.alone():
            self._accounts.hear(self._spend.news())
            try:
                return self._accounts.exchange(provider, holder, usage, want=want, price_usd=price_usd, now_s=now_s)
            finally:  # what was given back counts even where nothing was granted
                self._spend.write(self._accounts.committed_usd)
