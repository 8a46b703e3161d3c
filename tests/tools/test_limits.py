"""The account: hand-computed leases, with the time passed in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen_searcher.config.limits import LimitsConfig, ProviderLimits
from gen_searcher.errors import BudgetSpent, ConfigError
from gen_searcher.tools.limits import POLL_S, UNLIMITED, Account, Accounts, Usage


def account(*, price_usd: float = 0.0, lease_requests: int = 8, **limits: float) -> Account:
    return Account(
        provider="p",
        limits=ProviderLimits(**limits),  # type: ignore[arg-type]
        price_usd=price_usd,
        lease_requests=lease_requests,
        lease_s=10.0,
        try_s=5.0,
    )


def test_without_limit_and_price_a_lease_is_for_any_number_of_requests() -> None:
    lease = account().exchange("a", Usage(), want=8, now_s=0.0)
    assert (lease.requests, lease.slots, lease.is_shared) == (UNLIMITED, None, False)


def test_a_request_to_wait_holds_without_limit_and_price_too_and_the_others_hear_of_it_within_a_lease() -> None:
    book = account()
    assert book.exchange("b", Usage(), want=8, now_s=0.0).valid_s == 10.0
    book.exchange("a", Usage(made=1, told_to_wait_s=60.0), want=0, now_s=0.0)
    none = book.exchange("b", Usage(), want=8, now_s=10.0)
    assert (none.requests, none.wait_s) == (0, 50.0)
    assert book.exchange("b", Usage(), want=8, now_s=60.0).requests == UNLIMITED


def test_a_rate_is_shared_and_refills() -> None:
    book = account(requests_per_s=2.0, burst_requests=4)
    assert book.exchange("a", Usage(), want=3, now_s=0.0).requests == 3
    assert book.exchange("b", Usage(), want=3, now_s=0.0).requests == 1
    none = book.exchange("c", Usage(), want=3, now_s=0.0)
    assert (none.requests, none.wait_s) == (0, 0.5)
    assert book.exchange("c", Usage(), want=3, now_s=1.0).requests == 2


def test_unused_requests_of_a_valid_lease_come_back_and_those_of_an_old_one_do_not() -> None:
    book = account(requests_per_s=0.001, burst_requests=4)
    assert book.exchange("a", Usage(), want=4, now_s=0.0).requests == 4
    book.exchange("a", Usage(made=1), want=0, now_s=1.0)
    assert book.exchange("b", Usage(), want=4, now_s=1.0).requests == 3
    assert book.exchange("b", Usage(), want=4, now_s=20.0).requests == 0


def test_slots_are_divided_and_a_dead_worker_gives_its_own_back_in_time() -> None:
    book = account(concurrency=4, lease_requests=100)
    assert book.exchange("a", Usage(), want=100, now_s=0.0).slots == 4
    waiting = book.exchange("b", Usage(), want=100, now_s=0.0)
    assert (waiting.requests, waiting.wait_s) == (0, POLL_S)
    assert book.exchange("a", Usage(made=2, running=1), want=100, now_s=1.0).slots == 2
    assert book.exchange("b", Usage(), want=100, now_s=1.0).slots == 2
    assert book.exchange("c", Usage(), want=100, now_s=15.9).requests == 0  # a and b may still run
    assert book.exchange("c", Usage(), want=100, now_s=16.1).slots == 4  # they died: lease_s + try_s are over


def test_a_worker_whose_requests_take_longer_keeps_its_slots_for_as_long() -> None:
    book = account(concurrency=1)
    assert book.exchange("a", Usage(try_s=50.0), want=1, now_s=0.0).slots == 1
    assert book.exchange("b", Usage(), want=1, now_s=59.9).requests == 0
    assert book.exchange("b", Usage(), want=1, now_s=60.1).slots == 1  # it died: lease_s and its 50 are over


def test_a_request_to_wait_reaches_everybody() -> None:
    book = account(requests_per_s=100.0, burst_requests=100)
    book.exchange("a", Usage(made=1, told_to_wait_s=60.0), want=0, now_s=0.0)
    assert book.exchange("b", Usage(), want=1, now_s=10.0).wait_s == 50.0
    assert book.exchange("b", Usage(), want=1, now_s=60.0).requests == 1


def test_the_budget_stops_before_it_is_passed() -> None:
    book = account(price_usd=0.3, budget_usd=1.0)
    for _ in range(3):
        assert book.exchange("a", Usage(), want=8, now_s=0.0).requests == 1
        book.exchange("a", Usage(made=1), want=0, now_s=0.0)
    with pytest.raises(BudgetSpent, match=r"p: 0\.9000 of 1 USD are spent and the next request costs 0\.3") as spent:
        book.exchange("a", Usage(), want=8, now_s=0.0)
    assert spent.value.exit_code == 4
    assert book.committed_usd == pytest.approx(0.9)


def test_money_that_somebody_may_still_give_back_is_waited_for_and_a_dead_worker_s_is_gone() -> None:
    book = account(price_usd=1.0, budget_usd=2.0)
    book.exchange("a", Usage(), want=8, now_s=0.0)
    book.exchange("b", Usage(), want=8, now_s=0.0)
    assert book.committed_usd == 2.0
    assert book.exchange("c", Usage(), want=8, now_s=5.0).requests == 0
    book.exchange("a", Usage(made=0), want=0, now_s=6.0)
    assert book.exchange("c", Usage(), want=8, now_s=6.0).requests == 1
    with pytest.raises(BudgetSpent):
        book.exchange("d", Usage(), want=8, now_s=17.0)


def test_what_an_earlier_start_committed_counts() -> None:
    limits = LimitsConfig(providers={"p": ProviderLimits(budget_usd=1.0)})
    accounts = Accounts(config=limits, committed_usd={"p": 0.7})
    assert accounts.exchange("p", "a", Usage(), want=1, price_usd=0.2, now_s=0.0).requests == 1
    assert accounts.committed_usd == {"p": pytest.approx(0.9)}
    accounts.exchange("p", "a", Usage(made=1), want=0, price_usd=0.2, now_s=0.0)
    with pytest.raises(BudgetSpent):
        accounts.exchange("p", "a", Usage(), want=1, price_usd=0.2, now_s=0.0)


def test_a_budget_without_a_price_is_a_mistake() -> None:
    accounts = Accounts(config=LimitsConfig(providers={"p": ProviderLimits(budget_usd=1.0)}))
    with pytest.raises(ConfigError, match=r"set limits\.providers\.p\.usd_per_request"):
        accounts.exchange("p", "a", Usage(), want=1, price_usd=0.0, now_s=0.0)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.floats(0.0, 3.0), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_no_order_of_workers_passes_rate_slots_or_budget(plan: list[tuple[str, int, float, bool]]) -> None:
    book = account(price_usd=0.1, budget_usd=2.0, requests_per_s=3.0, burst_requests=5, concurrency=4)
    now_s, left, made = 0.0, dict.fromkeys("abc", 0), 0
    slots = dict.fromkeys("abc", 0)
    lives = dict.fromkeys("abc", 0)
    for holder, use, wait_s, dies in plan:
        now_s += wait_s
        used = min(use, left[holder])
        made += used
        if dies:
            left[holder] = 0
            lives[holder] += 1
            continue  # never reports, and comes back under another name
        try:
            lease = book.exchange(f"{holder}{lives[holder]}", Usage(made=used), want=8, now_s=now_s)
        except BudgetSpent:
            break
        left[holder], slots[holder] = lease.requests, lease.slots or 0
        assert made * 0.1 <= 2.0 + 1e-6
        assert book.committed_usd <= 2.0 + 1e-6
        assert made <= 5 + 3.0 * now_s + 1e-6
