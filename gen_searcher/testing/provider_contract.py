"""What every provider must do, as a suite that a plug-in author runs in one line.

    async def test_my_provider_keeps_the_contract() -> None:
        await check_search(Setup(make=..., found=..., empty=..., first=Hit(...)))

The provider is pointed at a server on loopback that gives a recorded answer, nothing, or one of the odd things that
real servers have been seen to give. All cases run; `ContractBroken` lists every one that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gen_searcher.protocols import ImageSearchProvider, PageReader, SearchProvider
from gen_searcher.testing.loopback import Answer, Loopback
from gen_searcher.testing.page_cases import PAGE_URL, PAGES, UNFIT, PageBench
from gen_searcher.testing.provider_cases import (
    ANSWERS,
    FAILURES,
    LISTS,
    QUERY,
    Asked,
    Bench,
    ContractBroken,
    Result,
    expect,
    refuses,
    run,
)
from gen_searcher.tools.limited import close
from gen_searcher.web import Page

__all__ = [
    "ContractBroken",
    "Result",
    "Setup",
    "check_fetching_reader",
    "check_image_search",
    "check_reader",
    "check_search",
]

P = TypeVar("P", SearchProvider, ImageSearchProvider, PageReader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup(Generic[P]):
    """A provider and two recorded answers in its own protocol."""

    make: Callable[[str, float], P]
    """(base address of a server, seconds until it must have answered) -> the provider."""
    found: bytes
    """An answer with at least two results; for a reader, a page."""
    empty: bytes
    """The answer when nothing is found; for a reader, the answer when the page is not there."""
    first: Result
    """How the first result of `found` reads."""
    key: str = ""
    """Value of the key that `make` gave the provider; empty when it takes none."""


async def check_search(setup: Setup[SearchProvider]) -> int:
    """Run every case on a `SearchProvider`; how many there were. Raises ContractBroken."""

    def start(base_url: str, deadline_s: float) -> Asked:
        provider = setup.make(base_url, deadline_s)
        return Asked(provider=provider, ask=lambda limit: provider.search(QUERY, limit=limit))

    return await run(_bench(setup, start), [*ANSWERS, *LISTS, *FAILURES])


async def check_image_search(setup: Setup[ImageSearchProvider]) -> int:
    """Run every case on an `ImageSearchProvider`; how many there were. Raises ContractBroken."""

    def start(base_url: str, deadline_s: float) -> Asked:
        provider = setup.make(base_url, deadline_s)
        return Asked(provider=provider, ask=lambda limit: provider.search_images(QUERY, limit=limit))

    return await run(_bench(setup, start), [*ANSWERS, *LISTS, *FAILURES])


async def check_reader(setup: Setup[PageReader]) -> int:
    """Run every case on a `PageReader` that asks a service; how many there were. Raises ContractBroken."""

    def start(base_url: str, deadline_s: float) -> Asked:
        provider = setup.make(base_url, deadline_s)

        async def ask(limit: int) -> Sequence[Page]:
            del limit
            page = await provider.read(PAGE_URL)
            return [] if page is None else [page]

        return Asked(provider=provider, ask=ask)

    async def addresses(bench: Bench) -> None:
        """An address that nobody should be sent to is refused without a request."""
        async with Loopback(Answer(body=bench.found)) as server:
            provider = setup.make(server.base_url, 10.0)
            try:
                for url in UNFIT:
                    await refuses(provider, url)
            finally:
                await close(provider)
            expect(not server.requests, "a refused address was asked for")

    return await run(_bench(setup, start), [*ANSWERS, addresses, *FAILURES])


async def check_fetching_reader(make: Callable[[str, float], PageReader], *, found: bytes, first: Page) -> int:
    """Run every case on a `PageReader` that fetches pages itself; how many there were. Raises ContractBroken.

    Args:
        make: (base address of a server, seconds until it must have answered) -> a reader that finds `example.org` there
            and tries once.
        found: A page as HTML.
        first: How it reads.
    """
    return await run(PageBench(make=make, found=found, first=first), PAGES)


def _bench(setup: Setup[P], start: Callable[[str, float], Asked]) -> Bench:
    return Bench(start=start, found=setup.found, empty=setup.empty, first=setup.first, key=setup.key)
