"""The accounts of the run, as a tool worker reaches them."""
# pyright: reportUnknownMemberType=false
# (ray is only partly typed)

from __future__ import annotations

from typing import cast

import ray

from gen_searcher.cluster.actors.limits import LIMITS_ACTOR
from gen_searcher.cluster.pool import Pool
from gen_searcher.tools.limits import Lease, Usage


class RemoteAuthority:
    """Implements `Authority`."""

    def __init__(self) -> None:
        """Look the actor up; it was started before the workers."""
        self._pool = Pool(LIMITS_ACTOR, [ray.get_actor(LIMITS_ACTOR)], stage="limits", wraps_plugs=False)

    async def exchange(self, provider: str, holder: str, usage: Usage, *, want: int, price_usd: float) -> Lease:
        """Waits for the actor. Raises BudgetSpent, and WorldError when it is gone."""
        lease = await self._pool.call("exchange", provider, holder, usage, want=want, price_usd=price_usd)
        return cast("Lease", lease)
