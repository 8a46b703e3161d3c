"""Providers under limits, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from gen_searcher.config.limits import LimitsConfig, RetryConfig
from gen_searcher.config.secrets import Secret
from gen_searcher.testing.virtual_time import run_virtually
from gen_searcher.tools.calling import Caller, LocalAuthority
from gen_searcher.tools.limited import LimitedSummarizer, timeout_s
from gen_searcher.tools.limits import Accounts
from gen_searcher.tools.meter import Meter
from gen_searcher.tools.providers.serper import Serper
from gen_searcher.web import Page, Summary

PAGE = Page(url="http://a.example/", title="t", text="x")


class OneAtATime:
    """A summarizer with one slot, eight seconds a page."""

    def __init__(self) -> None:
        self._slot = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, page: Page) -> AsyncGenerator[None]:
        async with self._slot:
            yield

    async def summarize(self, page: Page, *, query: str) -> Summary:
        async with self.turn(page):
            return await self.summarize_in_turn(page, query=query)

    async def summarize_in_turn(self, page: Page, *, query: str) -> Summary:
        await asyncio.sleep(8.0)
        return Summary(text=query)


def test_waiting_for_a_summarizer_s_own_slots_is_no_part_of_a_try() -> None:
    limits = LimitsConfig(retry=RetryConfig(attempts=1, try_s=10.0))

    async def main() -> list[Summary]:
        caller = Caller(
            "m",
            stage="browse",
            authority=LocalAuthority(Accounts(config=limits)),
            limits=limits,
            meter=Meter(),
            holder="w",
        )
        summarizer = LimitedSummarizer(OneAtATime(), caller)
        return await asyncio.gather(*(summarizer.summarize(PAGE, query=query) for query in "abc"))

    assert run_virtually(main()) == [Summary(text=query) for query in "abc"]


def test_a_provider_need_not_say_how_long_a_call_may_take() -> None:
    assert timeout_s(object()) == 0.0
    assert timeout_s(Serper(key=Secret("env:SOME_KEY"))) == 0.0, "limits.retry.try_s may be shorter than its own bound"
