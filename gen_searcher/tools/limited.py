"""Providers under limits: the same protocols, each request by way of a `Caller`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from gen_searcher.protocols import ImageSearchProvider, PageReader, SearchProvider, Summarizer
from gen_searcher.tools.calling import Caller
from gen_searcher.web import Hit, ImageHit, Page, Summary


@runtime_checkable
class Priced(Protocol):
    """A provider that says what a request costs."""

    @property
    def usd_per_request(self) -> float:
        """Dollars."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A provider whose settings say how long a call may take."""

    @property
    def timeout_s(self) -> float:
        """Seconds."""
        ...


@runtime_checkable
class Queued(Protocol):
    """A summarizer that reads so many pages at once and no more: a page waits for its turn before its time runs."""

    def turn(self, page: Page) -> AbstractAsyncContextManager[None]:
        """Entered when the page may be read."""
        ...

    async def summarize_in_turn(self, page: Page, *, query: str) -> Summary:
        """As `summarize`, by somebody who has the page's turn."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A provider that holds connections open; not every one does."""

    async def close(self) -> None:
        """Close them."""
        ...


def price_usd(provider: object) -> float:
    """Of one request; 0 for a provider that says nothing."""
    return provider.usd_per_request if isinstance(provider, Priced) else 0.0


def timeout_s(provider: object) -> float:
    """Of one call; 0 for a provider that says nothing."""
    told_s = provider.timeout_s if isinstance(provider, Timed) else 0.0
    return told_s if isinstance(told_s, int | float) else 0.0  # pyright: ignore[reportUnnecessaryIsInstance] - a plug


async def close(part: object) -> None:
    """Close what can be closed."""
    if isinstance(part, Closing):
        await part.close()


class LimitedSearch:
    """A `SearchProvider` under limits."""

    def __init__(self, provider: SearchProvider, caller: Caller) -> None:
        """`caller` is the provider's."""
        self._provider = provider
        self._caller = caller

    async def search(self, query: str, *, limit: int) -> list[Hit]:
        """Waits for a lease; see `Caller.call` for what it raises."""
        return await self._caller.call(lambda: self._provider.search(query, limit=limit))

    async def close(self) -> None:
        """Close the provider."""
        await close(self._provider)


class LimitedImageSearch:
    """An `ImageSearchProvider` under limits."""

    def __init__(self, provider: ImageSearchProvider, caller: Caller) -> None:
        """`caller` is the provider's."""
        self._provider = provider
        self._caller = caller

    async def search_images(self, query: str, *, limit: int) -> list[ImageHit]:
        """Waits for a lease; see `Caller.call` for what it raises."""
        return await self._caller.call(lambda: self._provider.search_images(query, limit=limit))

    async def close(self) -> None:
        """Close the provider."""
        await close(self._provider)


class LimitedReader:
    """A `PageReader` under limits."""

    def __init__(self, provider: PageReader, caller: Caller) -> None:
        """`caller` is the provider's."""
        self._provider = provider
        self._caller = caller

    async def read(self, url: str) -> Page | None:
        """Waits for a lease; see `Caller.call` for what it raises."""
        return await self._caller.call(lambda: self._provider.read(url))

    async def close(self) -> None:
        """Close the provider."""
        await close(self._provider)


class LimitedSummarizer:
    """A `Summarizer` under limits."""

    def __init__(self, provider: Summarizer, caller: Caller) -> None:
        """`caller` is the provider's."""
        self._provider = provider
        self._caller = caller

    async def summarize(self, page: Page, *, query: str) -> Summary:
        """Waits for its turn, then for a lease; see `Caller.call` for what it raises."""
        provider = self._provider
        if not isinstance(provider, Queued):
            return await self._caller.call(lambda: provider.summarize(page, query=query))
        async with provider.turn(page):
            return await self._caller.call(lambda: provider.summarize_in_turn(page, query=query))

    async def close(self) -> None:
        """Close the provider."""
        await close(self._provider)
