"""Calls under limits, in virtual time: the clock moves only when everybody waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from gen_searcher.config.limits import BreakerConfig, LimitsConfig, ProviderLimits, RetryConfig
from gen_searcher.errors import (
    BudgetSpent,
    ProviderClosed,
    ProviderDown,
    ProviderInvalid,
    ProviderOverloaded,
    ProviderRefused,
    Refusal,
)
from gen_searcher.testing.virtual_time import run_virtually
from gen_searcher.tools.calling import Caller, LocalAuthority, backoff_s
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.meter import Meter, opened_tab

RETRY = RetryConfig(attempts=3, base_s=1.0, max_s=8.0, try_s=10.0, total_s=100.0)


class Provider:
    """Answers from a script, the last entry for ever, and writes down when it was asked."""

    def __init__(self, script: Sequence[Exception | str], *, takes_s: float = 0.0) -> None:
        self._script = list(script)
        self._takes_s = takes_s
        self.asked_s: list[float] = []
        self.running = self.most_running = 0

    async def __call__(self) -> str:
        self.asked_s.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self._takes_s)
        finally:
            self.running -= 1
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    def __init__(self, *, retry: RetryConfig = RETRY, breaker: BreakerConfig | None = None, **limits: float) -> None:
        self.config = LimitsConfig(
            providers={"p": ProviderLimits(**limits)},  # type: ignore[arg-type]
            retry=retry,
            breaker=breaker or BreakerConfig(failures=100),
        )
        self.authority = LocalAuthority(Accounts(config=self.config))
        self.meter = Meter()

    def caller(self, holder: str = "w", *, timeout_s: float = 0.0) -> Caller:
        return Caller(
            "p",
            stage="search",
            authority=self.authority,
            limits=self.config,
            meter=self.meter,
            holder=holder,
            timeout_s=timeout_s,
            rng=random.Random(1),
        )


def run(bench: Bench, provider: Callable[[], Awaitable[str]], *, calls: int = 1, workers: int = 1) -> list[object]:
    async def main() -> list[object]:
        callers = [bench.caller(f"w{number}") for number in range(workers)]
        asking = (callers[number % workers].call(provider) for number in range(calls))
        return list(await asyncio.gather(*asking, return_exceptions=True))

    return run_virtually(main())


def test_what_another_try_may_mend_is_tried_again_after_a_jittered_wait() -> None:
    provider = Provider([ProviderDown("x"), ProviderDown("x"), "ok"])
    assert run(Bench(), provider) == ["ok"]
    rng = random.Random(1)
    first, second = backoff_s(0, RETRY, rng), backoff_s(1, RETRY, rng)
    assert provider.asked_s == [0.0, first, first + second]
    assert 0.0 <= first <= 1.0
    assert 0.0 <= second <= 2.0


def test_tries_end() -> None:
    bench, provider = Bench(), Provider([ProviderDown("broken", "search")])
    (error,) = run(bench, provider)
    assert isinstance(error, ProviderDown)
    assert len(provider.asked_s) == 3
    assert bench.meter.take()["tool/p_retries"].value == 2


def test_retry_after_is_kept_to_by_every_worker_and_request() -> None:
    provider = Provider([ProviderOverloaded("slow down", "search", 30.0), "ok"])
    bench = Bench(requests_per_s=1000.0, burst_requests=1)
    assert run(bench, provider, calls=4, workers=4).count("ok") == 4
    assert provider.asked_s[0] == 0.0
    late = [asked_s for asked_s in provider.asked_s if asked_s >= 30.0]
    assert len(late) >= 1
    assert len(provider.asked_s) - len(late) <= 4  # at most what was under way or leased when the word came


def test_retry_after_of_a_provider_without_limits_is_kept_to() -> None:
    provider = Provider([ProviderOverloaded("slow down", "search", 30.0), "ok"])
    assert run(Bench(), provider) == ["ok"]
    assert provider.asked_s[0] == 0.0
    assert provider.asked_s[1] >= 30.0
    assert len(provider.asked_s) == 2


def test_retry_after_beyond_the_deadline_is_not_waited_for() -> None:
    provider = Provider([ProviderOverloaded("come back in an hour", "search", 3600.0)])
    (error,) = run(Bench(), provider)
    assert isinstance(error, ProviderOverloaded)
    assert provider.asked_s == [0.0]


def test_a_stuck_call_ends_at_its_deadline() -> None:
    async def main() -> float:
        provider = Provider(["never"], takes_s=1e9)
        with pytest.raises(ProviderDown, match=r"no answer within 10 s \(limits\.retry\.try_s, or"):
            await Bench(retry=RETRY.model_copy(update={"attempts": 2})).caller().call(provider)
        assert len(provider.asked_s) == 2
        return asyncio.get_running_loop().time()

    assert 20.0 <= run_virtually(main()) <= 21.0


@pytest.mark.parametrize("total_s", [100.0, 15.0])
def test_a_service_that_is_given_more_time_by_its_own_settings_has_it(total_s: float) -> None:
    retry = RETRY.model_copy(update={"total_s": total_s})  # try_s is 10

    async def main(timeout_s: float) -> str:
        return await Bench(retry=retry).caller(timeout_s=timeout_s).call(Provider(["ok"], takes_s=25.0))

    assert run_virtually(main(30.0)) == "ok"
    with pytest.raises(ProviderDown, match=r"\(limits\.retry\.t"):
        run_virtually(main(20.0))


def test_the_whole_call_ends_at_its_deadline() -> None:
    retry = RETRY.model_copy(update={"attempts": 100, "total_s": 35.0})

    async def main() -> float:
        with pytest.raises(ProviderDown):
            await Bench(retry=retry).caller().call(Provider(["never"], takes_s=1e9))
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) <= 35.0


def test_many_workers_share_one_rate() -> None:
    provider = Provider(["ok"], takes_s=0.5)
    assert run(Bench(requests_per_s=5.0, burst_requests=5), provider, calls=60, workers=7) == ["ok"] * 60
    asked = sorted(provider.asked_s)
    assert all(asked[number] >= (number - 4) / 5.0 - 1e-6 for number in range(60))
    assert asked[-1] <= 60 / 5.0 + 1.0


def test_many_workers_share_the_slots_and_none_starves() -> None:
    provider = Provider(["ok"], takes_s=1.0)
    bench = Bench(concurrency=3)
    assert run(bench, provider, calls=30, workers=5) == ["ok"] * 30
    assert provider.most_running == 3
    assert max(provider.asked_s) <= 30 / 3 * 2.0  # at worst half of the time is lost to polling


def test_the_budget_holds_over_workers_and_nothing_is_bought_beyond_it() -> None:
    bench = Bench(budget_usd=1.0, usd_per_request=0.1)
    provider = Provider(["ok"], takes_s=0.5)
    results = run(bench, provider, calls=40, workers=4)
    assert len(provider.asked_s) == 10
    assert results.count("ok") == 10
    assert sum(isinstance(result, BudgetSpent) for result in results) == 30
    assert bench.meter.take()["tool/spent_usd"].value == pytest.approx(1.0)
    assert bench.authority.accounts.committed_usd["p"] == pytest.approx(1.0)


def test_failures_in_a_row_open_the_breaker_one_probe_closes_it() -> None:
    breaker = BreakerConfig(failures=3, open_s=20.0)
    provider = Provider([ProviderDown("x")] * 3 + ["ok"])
    bench = Bench(breaker=breaker, retry=RETRY.model_copy(update={"attempts": 1}))

    async def main() -> list[object]:
        caller = bench.caller()
        failed = [await _caught(caller, provider) for _ in range(3)]
        is_open = bench.meter.take()["tool/p_breaker_open"].value
        after = await asyncio.gather(*(caller.call(provider) for _ in range(4)))
        return [*failed, is_open, *after, bench.meter.take()["tool/p_breaker_open"].value]

    assert run_virtually(main()) == ["ProviderDown"] * 3 + [1.0] + ["ok"] * 4 + [0.0]
    assert provider.asked_s[3] >= 20.0
    assert provider.asked_s[4] > provider.asked_s[3]  # the others waited for the probe


def test_an_open_breaker_beyond_the_deadline_costs_no_request() -> None:
    breaker = BreakerConfig(failures=1, open_s=1000.0)
    provider = Provider([ProviderDown("x")])
    results = run(Bench(breaker=breaker, retry=RETRY.model_copy(update={"attempts": 1})), provider, calls=5)
    assert all(isinstance(result, ProviderDown) for result in results)

    async def later() -> int:
        caller = Bench(breaker=breaker, retry=RETRY.model_copy(update={"attempts": 1})).caller()
        own = Provider([ProviderDown("x")])
        for _ in range(5):
            await _caught(caller, own)
        return len(own.asked_s)

    assert run_virtually(later()) == 1


@pytest.mark.parametrize(("refusal", "code"), [(Refusal.KEY, 3), (Refusal.QUOTA, 4)])
def test_a_refused_key_or_account_stops_the_run_and_names_the_provider(refusal: Refusal, code: int) -> None:
    provider = Provider([ProviderRefused("serper: status 401", "search", refusal)])
    (error,) = run(Bench(), provider)
    assert isinstance(error, ProviderClosed)
    assert error.exit_code == code
    assert "serper: status 401" in str(error)
    assert len(provider.asked_s) == 1


def test_an_answer_of_another_form_is_not_tried_again_and_no_failure_of_the_line() -> None:
    provider = Provider([ProviderInvalid("html", "search")])
    bench = Bench(breaker=BreakerConfig(failures=1))
    (error,) = run(bench, provider)
    assert isinstance(error, ProviderInvalid)
    assert len(provider.asked_s) == 1
    assert bench.meter.take()["tool/p_breaker_open"].value == 0.0


def test_a_caller_who_gives_up_frees_its_slot() -> None:
    async def main() -> str:
        caller = Bench(concurrency=1).caller()
        slow = asyncio.ensure_future(caller.call(Provider(["slow"], takes_s=5.0)))
        await asyncio.sleep(1.0)
        waiting = asyncio.ensure_future(caller.call(Provider(["x"])))
        await asyncio.sleep(0.5)
        slow.cancel()
        waiting.cancel()
        await asyncio.gather(slow, waiting, return_exceptions=True)
        return await caller.call(Provider(["ok"]))

    assert run_virtually(main()) == "ok"


def test_the_tab_of_a_tool_call_holds_what_it_began() -> None:
    async def main() -> float:
        caller = Bench(usd_per_request=0.25).caller()
        with opened_tab() as tab:
            await asyncio.create_task(caller.call(Provider([ProviderDown("x"), "ok"])))
        return tab.usd

    assert run_virtually(main()) == 0.5


async def _caught(caller: Caller, provider: Provider) -> str:
    try:
        return await caller.call(provider)
    except ProviderDown as error:
        return type(error).__name__
