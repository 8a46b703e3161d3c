"""Which worker gets the next call."""

from __future__ import annotations

import random

import pytest

from gen_searcher.train.routing import Router, home


def test_the_idlest_healthy_worker_is_chosen_and_the_first_of_several() -> None:
    router = Router(3)
    assert router.idlest({0, 1, 2}) == 0
    router.began(0)
    assert router.idlest({0, 1, 2}) == 1
    router.began(1)
    router.began(2)
    router.began(2)
    assert router.idlest({0, 1, 2}) == 0
    assert router.idlest({1, 2}) == 1
    assert router.idlest({2}) == 2
    router.ended(2)
    router.ended(2)
    assert router.idlest({0, 1, 2}) == 2, "a worker that was passed over is still known"
    with pytest.raises(LookupError, match="no worker is healthy"):
        router.idlest(set())
    assert router.idlest({0, 1, 2}) == 2


def test_what_belongs_together_stays_together_until_others_are_idler_by_the_slack() -> None:
    router = Router(2)
    chosen: list[int] = []
    for _ in range(8):
        index = router.near(7, {0, 1}, slack=3)
        router.began(index)
        chosen.append(index)
    assert chosen == [0, 0, 0, 0, 1, 1, 1, 1], "after four on worker 0 worker 1 is idler by four and gets the rest"
    assert router.near(7, {0}, slack=3) == 0, "the favourite is down"


def test_choices_agree_with_a_search_through_all_workers() -> None:
    rng = random.Random(0)
    router = Router(9)
    calls = [0] * 9
    for _ in range(3000):
        healthy = {index for index in range(9) if rng.random() < 0.8} or {4}
        index = router.idlest(healthy)
        assert index == min(healthy, key=lambda each: (calls[each], each))
        if rng.random() < 0.5 and any(calls):
            index = rng.choice([each for each in range(9) if calls[each]])
            router.ended(index)
            calls[index] -= 1
        else:
            router.began(index)
            calls[index] += 1
    assert router.calls == tuple(calls)


def test_sixty_four_groups_of_eight_load_sixty_four_workers_evenly() -> None:
    router = Router(64)
    healthy = set(range(64))
    for attempt in range(512):
        router.began(router.near(attempt // 8, healthy, slack=4))
    assert max(router.calls) <= 8 + 4
    hashed = [0] * 64
    rng = random.Random(1)
    for _ in range(64):
        hashed[rng.randrange(64)] += 8
    assert max(hashed) >= 24, "a hash puts three groups and more on one worker and none on others"


def test_workers_join_and_leave_while_calls_are_in_flight() -> None:
    router = Router(2)
    router.began(0)
    router.began(1)
    router.join(2)
    assert router.idlest({0, 1, 2}) == 2
    router.leave(0)
    assert router.calls == (1, 0)
    router.ended(0)
    assert router.calls == (1, 0), "a call of one that left is nobody's"
    router.began(2)
    router.began(2)
    assert router.idlest({1, 2}) == 1
    assert [router.near(5, {1, 2}, slack=0), router.near(5, {2}, slack=0)] == [1, 2]


def test_a_key_moves_only_when_its_worker_leaves_or_a_new_one_takes_its_share() -> None:
    keys = range(3000)
    four = {key: home(key, {0, 1, 2, 3}) for key in keys}
    shares = [sum(worker == each for worker in four.values()) / 3000 for each in range(4)]
    assert min(shares) > 0.2
    three = {key: home(key, {0, 2, 3}) for key in keys}
    assert all(three[key] == four[key] for key in keys if four[key] != 1)
    five = {key: home(key, {0, 1, 2, 3, 9}) for key in keys}
    moved = [key for key in keys if five[key] != four[key]]
    assert {five[key] for key in moved} == {9}
    assert 0.15 < len(moved) / 3000 < 0.25
