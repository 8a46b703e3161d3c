"""A run, a lease and a provider under limits, as they go in this process: `python -m tests.faults.under_clock FOLDER`.

Says what came of them as JSON, durations by the clock that never goes back. `test_clocks.py` starts it where the other
clock jumps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

from gen_searcher.config.limits import BreakerConfig, LimitsConfig, ProviderLimits, RetryConfig
from gen_searcher.errors import LeaseHeld, ProviderDown, ProviderOverloaded
from gen_searcher.ledger.lease import RunLease
from gen_searcher.tools.calling import Caller, LocalAuthority
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.meter import Meter
from tests.train.toy_run import toy_run

LIMITS = LimitsConfig(
    providers={"p": ProviderLimits(requests_per_s=20.0, burst_requests=1)},
    retry=RetryConfig(attempts=1, base_s=0.01, try_s=0.2, total_s=60.0),
    breaker=BreakerConfig(failures=2, open_s=0.2),
    lease_requests=1,
)
STEPS = 4


def main(folder: str) -> int:
    """Do all of it."""
    root = Path(folder)
    jumps = max(abs(time.time() - time.time()) for _ in range(4))
    toy_run(root / "run", steps=2)
    toy_run(root / "run", steps=STEPS)
    found = {
        "jump_s": round(jumps),
        "weights": (root / "run" / "weights.json").read_text(),
        **_lease(root / "leases"),
        **asyncio.run(_provider()),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _lease(folder: Path) -> dict[str, object]:
    with RunLease.acquire(folder, beat_s=0.05, expiry_s=1.0) as holder:
        try:
            RunLease.acquire(folder, beat_s=0.05, expiry_s=1.0)
            is_refused = False
        except LeaseHeld:
            is_refused = True
        holder.check()
    started_s = time.monotonic()
    hung = RunLease.acquire(folder, beat_s=1e9, expiry_s=0.4)
    with RunLease.acquire(folder, beat_s=0.05, expiry_s=0.4) as next_one:
        taken_s = time.monotonic() - started_s
        token = next_one.token
    hung.release()
    return {"second_is_refused": is_refused, "hung_is_followed_s": taken_s, "token": token}


async def _provider() -> dict[str, object]:
    def caller(name: str) -> Caller:
        return Caller(
            "p", stage="search", authority=authority, limits=LIMITS, meter=Meter(), holder=name, price_usd=0.0
        )

    async def answers() -> int:
        return 1

    async def hangs() -> int:
        await asyncio.Event().wait()
        return 0

    async def asks_for_patience() -> int:
        raise ProviderOverloaded("p: status 429", "search", 0.3)

    authority = LocalAuthority(Accounts(config=LIMITS))
    one = caller("one")
    started_s = time.monotonic()
    await asyncio.gather(*(one.call(answers) for _ in range(9)))
    nine_s = time.monotonic() - started_s

    started_s = time.monotonic()
    with contextlib.suppress(ProviderDown):
        await one.call(hangs)
    hang_s = time.monotonic() - started_s

    started_s = time.monotonic()
    try:
        await caller("two").call(asks_for_patience)
    except ProviderOverloaded:
        await caller("three").call(answers)
    quiet_s = time.monotonic() - started_s

    broken = caller("four")
    for _ in range(2):
        try:
            await broken.call(hangs)
        except ProviderDown:
            started_s = time.monotonic()
    await broken.call(answers)  # waits for the breaker
    return {"nine_s": nine_s, "hang_s": hang_s, "quiet_s": quiet_s, "open_s": time.monotonic() - started_s}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
