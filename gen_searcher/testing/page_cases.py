"""The cases of a reader that fetches pages itself: a page's failure is told to the policy, a host's loses the attempt.

A status of one page (401, 403, 451) says nothing about our keys: it must never stop a run as a service's would.
"""

from __future__ import annotations

import asyncio
import gzip
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gen_searcher.errors import ProviderDown, ProviderError, ProviderOverloaded
from gen_searcher.protocols import PageReader
from gen_searcher.testing.loopback import Answer, Loopback, Received
from gen_searcher.testing.provider_cases import DEADLINE_S, ContractBroken, expect, refuses
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.limited import close
from gen_searcher.tools.words import one_line
from gen_searcher.web import Page

PAGE_URL = "http://example.org/page"
"""What a reader is asked for."""

UNFIT = ("file:///etc/passwd", "http://127.0.0.1/", "http://u:p@example.org/", "http://169.254.169.254/", "x")
"""What nobody should be sent to."""

HTML = {"Content-Type": "text/html; charset=utf-8"}
BOMB_BYTES = 30_000_000
"""What a few kilobytes unpack to; no reader should take so much."""
MOST_HOPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What became of one reading."""

    page: Page | None
    error: ProviderError | Refused | None
    requests: Sequence[Received]

    def __str__(self) -> str:
        """What came, in short."""
        return one_line(repr(self.error or self.page), 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBench:
    """A reader, a page and how it reads."""

    make: Callable[[str, float], PageReader]
    found: bytes
    first: Page

    async def read(self, *answers: Answer, deadline_s: float = 10.0) -> _Read:
        """Read a page of a server that gives these answers."""
        async with Loopback(*answers) as server:
            reader = self.make(server.base_url, deadline_s)
            try:
                return _Read(page=await reader.read(PAGE_URL), error=None, requests=server.requests)
            except (ProviderError, Refused) as error:
                return _Read(page=None, error=error, requests=server.requests)
            finally:
                await close(reader)

    async def down(self, answer: Answer, *, deadline_s: float = 10.0) -> ProviderError:
        """The failure of the host; it can be pickled."""
        read = await self.read(answer, deadline_s=deadline_s)
        if not isinstance(read.error, ProviderError):
            raise ContractBroken(f"no ProviderError, but {read}")
        expect(len(read.requests) == 1, f"{len(read.requests)} requests by a reader that tries once")
        copy: object = pickle.loads(pickle.dumps(read.error))
        expect(type(copy) is type(read.error) and str(copy) == str(read.error), "the error does not survive pickling")
        return read.error

    async def refused(self, *answers: Answer) -> Sequence[Received]:
        """The requests of a reading that ended in words for the policy."""
        read = await self.read(*answers)
        expect(isinstance(read.error, Refused), f"{answers[0].status} {answers[0].headers} gave {read}")
        return read.requests


async def _reads(bench: PageBench) -> None:
    """A page reads as expected, with one GET to its own host and nothing that tells who asks."""
    read = await bench.read(Answer(body=bench.found, headers=HTML))
    expect(read.page == bench.first, f"expected {bench.first!r}, got {read}")
    (request,) = read.requests
    sent = {name.lower(): value for name, value in request.headers.items()}
    expect((request.method, request.target, sent["host"]) == ("GET", "/page", "example.org"), f"asked {request}")
    expect(not sent.keys() & {"authorization", "cookie", "referer"}, f"sent {sorted(sent)}")


async def _gone(bench: PageBench) -> None:
    """404 and 410: there is no such page, and no error."""
    for status in (404, 410):
        read = await bench.read(Answer(status=status, body=b"<p>gone</p>", headers=HTML))
        expect(read.page is None and read.error is None, f"{status} gave {read}")


async def _packed(bench: PageBench) -> None:
    """A compressed page is read."""
    read = await bench.read(Answer(body=gzip.compress(bench.found), headers={**HTML, "Content-Encoding": "gzip"}))
    expect(read.page == bench.first, f"gzip gave {read}")


async def _bad_letters(bench: PageBench) -> None:
    """A byte that is no UTF-8 loses no attempt."""
    read = await bench.read(Answer(body=bench.found.replace(b" ", b" \xff", 1), headers=HTML))
    expect(not isinstance(read.error, ProviderError), f"a bad letter gave {read.error!r}")


async def _at_once(bench: PageBench) -> None:
    """One reader reads eight pages at a time."""
    async with Loopback(Answer(body=bench.found, headers=HTML)) as server:
        reader = bench.make(server.base_url, 10.0)
        try:
            got = await asyncio.gather(*(reader.read(PAGE_URL) for _ in range(8)))
        finally:
            await close(reader)
    expect(all(page == bench.first for page in got), "readings at once disturb each other")


async def _unfit(bench: PageBench) -> None:
    """An address that nobody should be sent to is refused without a request."""
    async with Loopback(Answer(body=bench.found, headers=HTML)) as server:
        reader = bench.make(server.base_url, 10.0)
        try:
            for url in UNFIT:
                await refuses(reader, url)
        finally:
            await close(reader)
        expect(not server.requests, "a refused address was asked for")


async def _redirected(bench: PageBench) -> None:
    """A redirect is followed, and the page says where it was found."""
    there = Answer(status=302, body=b"", headers={"Location": "/there"})
    read = await bench.read(there, Answer(body=bench.found, headers=HTML))
    expect(read.page is not None and read.page.url == "http://example.org/there", f"a redirect gave {read}")


async def _redirected_inside(bench: PageBench) -> None:
    """A redirect to where nobody should be sent is refused and not followed."""
    for url in UNFIT[:-1]:
        there = Answer(status=302, body=b"", headers={"Location": url})
        expect(len(await bench.refused(there, Answer(body=bench.found, headers=HTML))) == 1, f"{url} was followed")


async def _redirected_for_ever(bench: PageBench) -> None:
    """Redirects without end are refused after a few."""
    asked = await bench.refused(Answer(status=302, body=b"", headers={"Location": "/again"}))
    expect(len(asked) <= MOST_HOPS, f"{len(asked)} redirects were followed")


async def _forbidden(bench: PageBench) -> None:
    """A page that is not for us is refused: no key of ours is at stake."""
    for status in (400, 401, 402, 403, 451):
        await bench.refused(Answer(status=status, body=b"Unauthorized: invalid api key", headers=HTML))


async def _overloaded(bench: PageBench) -> None:
    """429: overloaded, with the seconds that the host asks for, if it does."""
    for headers, wait_s in (({"Retry-After": "3600"}, 3600.0), ({}, None), ({"Retry-After": "soon"}, None)):
        error = await bench.down(Answer(status=429, body=b"", headers={**HTML, **headers}))
        expect(isinstance(error, ProviderOverloaded) and error.retry_after_s == wait_s, f"429 {headers} gave {error!r}")


async def _server_error(bench: PageBench) -> None:
    """500, 502, 504: down."""
    for status in (500, 502, 504):
        error = await bench.down(Answer(status=status, body=b"<html>Bad gateway</html>", headers=HTML))
        expect(isinstance(error, ProviderDown), f"{status} gave {error!r}")


async def _silent(bench: PageBench) -> None:
    """A host that does not answer in time is down."""
    error = await bench.down(Answer(body=bench.found, headers=HTML, is_silent=True), deadline_s=DEADLINE_S)
    expect(isinstance(error, ProviderDown), f"no answer gave {error!r}")


async def _broken_off(bench: PageBench) -> None:
    """A page that stops before its announced end is down."""
    error = await bench.down(Answer(body=bench.found, headers=HTML, is_broken_off=True))
    expect(isinstance(error, ProviderDown), f"a page that broke off gave {error!r}")


async def _nobody_there(bench: PageBench) -> None:
    """A refused connection is down."""
    async with Loopback(Answer(body=b"")) as server:
        pass
    reader = bench.make(server.base_url, 10.0)
    try:
        await reader.read(PAGE_URL)
    except ProviderDown:
        return
    finally:
        await close(reader)
    raise ContractBroken("a refused connection raised no ProviderDown")


async def _too_large(bench: PageBench) -> None:
    """A page without end, and a small one that unpacks to a giant, are refused."""
    await bench.refused(Answer(body=b"<p>" + b"y" * 65_536, headers=HTML, is_endless=True))
    bomb = gzip.compress(b"\0" * BOMB_BYTES)
    await bench.refused(Answer(body=bomb, headers={**HTML, "Content-Encoding": "gzip"}))


async def _no_page(bench: PageBench) -> None:
    """What is no text is refused."""
    for kind in ("application/octet-stream", "application/x-msdownload", "image/png"):
        await bench.refused(Answer(body=b"MZ\0", headers={"Content-Type": kind}))


PAGES = (
    _reads,
    _gone,
    _packed,
    _bad_letters,
    _at_once,
    _unfit,
    _redirected,
    _redirected_inside,
    _redirected_for_ever,
    _forbidden,
    _overloaded,
    _server_error,
    _silent,
    _broken_off,
    _nobody_there,
    _too_large,
    _no_page,
)
"""Every case; its docstring is the sentence that a failure is told by."""
