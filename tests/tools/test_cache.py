from __future__ import annotations

import asyncio

import pytest

from gen_searcher.errors import ProviderError
from gen_searcher.tools.cache import RequestCache


class Source:
    def __init__(self) -> None:
        self.made = 0
        self.gate = asyncio.Event()

    async def make(self) -> int:
        self.made += 1
        await self.gate.wait()
        return self.made


async def test_a_second_request_is_a_hit() -> None:
    cache: RequestCache[str, int] = RequestCache(4)
    source = Source()
    source.gate.set()
    first, second = await cache.get("a", source.make), await cache.get("a", source.make)
    assert (first.value, first.is_hit, second.value, second.is_hit) == (1, False, 1, True)
    assert source.made == 1


async def test_siblings_who_ask_at_once_share_one_flight() -> None:
    cache: RequestCache[str, int] = RequestCache(4)
    source = Source()
    asking = [asyncio.ensure_future(cache.get("a", source.make)) for _ in range(6)]
    await asyncio.sleep(0)
    source.gate.set()
    answers = await asyncio.gather(*asking)
    assert source.made == 1
    assert sorted(answer.is_hit for answer in answers) == [False] + [True] * 5


async def test_the_least_recently_used_answer_goes_first() -> None:
    cache: RequestCache[str, int] = RequestCache(2)
    source = Source()
    source.gate.set()
    for key in ("a", "b", "a", "c"):
        await cache.get(key, source.make)
    assert (await cache.get("a", source.make)).is_hit
    assert not (await cache.get("b", source.make)).is_hit


async def test_a_failure_reaches_everybody_and_is_not_kept() -> None:
    cache: RequestCache[str, int] = RequestCache(4)

    async def fail() -> int:
        raise ProviderError("down")

    answers = await asyncio.gather(*(cache.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ProviderError] * 3
    source = Source()
    source.gate.set()
    assert (await cache.get("a", source.make)).value == 1


async def test_one_who_gives_up_does_not_end_the_flight_for_the_others() -> None:
    cache: RequestCache[str, int] = RequestCache(4)
    source = Source()
    first = asyncio.ensure_future(cache.get("a", source.make))
    second = asyncio.ensure_future(cache.get("a", source.make))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert (await second).value == 1
