"""The cases of the provider contract: each points a provider at a server on loopback and says what must come of it."""

from __future__ import annotations

import asyncio
import gzip
import pickle
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gen_searcher.errors import (
    ProviderDown,
    ProviderError,
    ProviderInvalid,
    ProviderOverloaded,
    ProviderRefused,
    Refusal,
)
from gen_searcher.protocols import PageReader
from gen_searcher.testing.loopback import Answer, Loopback
from gen_searcher.tools.guard import Refused
from gen_searcher.tools.limited import close
from gen_searcher.web import Hit, ImageHit, Page

B = TypeVar("B")
Result = Hit | ImageHit | Page

QUERY = 'flag of "Côte d\'Ivoire" & 象牙海岸?'

DEADLINE_S = 0.3
"""What a provider is told to wait for an answer that never comes."""


class ContractBroken(AssertionError):
    """At least one case failed; the message names all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A provider at work, and how it is asked."""

    provider: object
    ask: Callable[[int], Awaitable[Sequence[Result]]]
    """limit -> results"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A provider and its recorded answers."""

    start: Callable[[str, float], Asked]
    found: bytes
    empty: bytes
    first: Result
    key: str

    async def ask(self, server: Loopback, *, limit: int = 10, deadline_s: float = 10.0) -> Sequence[Result]:
        """What a provider that is made for it says."""
        opened = self.start(server.base_url, deadline_s)
        try:
            return await opened.ask(limit)
        finally:
            await close(opened.provider)

    async def error(self, answer: Answer, *, deadline_s: float = 10.0) -> ProviderError:
        """What the provider raises on `answer`; whatever it is, it keeps the key to itself and can be pickled."""
        async with Loopback(answer) as server:
            error = await self._raised(server, deadline_s)
            asked = len(server.requests)
        shown = f"{error} {error!r} {error.__cause__!r}"
        expect(asked == 1, f"{asked} requests for one call")
        expect(not self.key or self.key not in shown, "the error shows the key")
        copy: object = pickle.loads(pickle.dumps(error))
        expect(type(copy) is type(error) and str(copy) == str(error), "the error does not survive pickling")
        return error

    async def _raised(self, server: Loopback, deadline_s: float) -> ProviderError:
        try:
            got = await self.ask(server, deadline_s=deadline_s)
        except ProviderError as error:
            return error
        raise ContractBroken(f"no error; it gave {got!r}")


async def refuses(reader: PageReader, url: str) -> None:
    """Raises ContractBroken when the address is taken."""
    try:
        await reader.read(url)
    except Refused:
        return
    raise ContractBroken(f"{url} was not refused")


async def _recorded(bench: Bench) -> None:
    """The recorded answer reads as expected, with one request that carries the key in a header only."""
    key = bench.key
    async with Loopback(Answer(body=bench.found)) as server:
        got = await bench.ask(server)
        expect(bool(got) and got[0] == bench.first, f"expected {bench.first!r} first, got {got!r}")
        expect(len(server.requests) == 1, f"{len(server.requests)} requests for one call")
        request = server.requests[0]
    expect(not key or any(key in value for value in request.headers.values()), "the key was not sent")
    expect(not key or (key not in request.target and key not in request.body), "the key is in the address or the body")


async def _nothing(bench: Bench) -> None:
    """Nothing found is empty, and no error."""
    async with Loopback(Answer(body=bench.empty)) as server:
        got = await bench.ask(server)
    expect(len(got) == 0, f"expected nothing, got {got!r}")


async def _packed(bench: Bench) -> None:
    """A compressed answer is read."""
    body = gzip.compress(bench.found)
    async with Loopback(Answer(body=body, headers={"Content-Encoding": "gzip"})) as server:
        expect((await bench.ask(server))[0] == bench.first, "a gzip answer is not read")


async def _bad_letters(bench: Bench) -> None:
    """A byte that is no UTF-8 spoils at most a letter."""
    async with Loopback(Answer(body=bench.found.replace(b" ", b" \xff", 1))) as server:
        try:
            await bench.ask(server)
        except ProviderError:
            return  # to refuse is as good


async def _at_once(bench: Bench) -> None:
    """One provider answers eight calls at a time."""
    async with Loopback(Answer(body=bench.found)) as server:
        opened = bench.start(server.base_url, 10.0)
        try:
            got = await asyncio.gather(*(opened.ask(10) for _ in range(8)))
        finally:
            await close(opened.provider)
        expect(all(one[0] == bench.first for one in got), "calls at once disturb each other")
        expect(len(server.requests) == 8, f"{len(server.requests)} requests for eight calls")


async def _limited(bench: Bench) -> None:
    """No more than `limit` results, the first ones, and each address once."""
    async with Loopback(Answer(body=bench.found)) as server:
        every = await bench.ask(server, limit=10)
        one = await bench.ask(server, limit=1)
    expect(len(every) >= 2, "the recorded answer must hold two results")
    expect(list(one) == list(every[:1]), f"limit=1 gave {len(one)} results")
    urls = [hit.url if isinstance(hit, Hit | Page) else hit.image_url for hit in every]
    expect(len(set(urls)) == len(urls), "an address comes twice")
    expect(all(url.startswith(("http://", "https://")) for url in urls), f"an address is none: {urls}")


async def _asked(bench: Bench) -> None:
    """The query arrives as it was written."""
    async with Loopback(Answer(body=bench.found)) as server:
        await bench.ask(server)
        sent = server.requests[0]
    expect(QUERY in sent.query.values() or QUERY in sent.fields.values(), "the query did not arrive as it was written")


async def _key_refused(bench: Bench) -> None:
    """401, and 403 of a search: the key is refused, even when the server repeats it. A reader's 403 may be the page's."""
    for status in (401,) if isinstance(bench.first, Page) else (401, 403):
        body = f'{{"message": "Unauthorized: {bench.key}"}}'.encode()
        error = await bench.error(Answer(status=status, body=body))
        expect(isinstance(error, ProviderRefused) and error.refusal is Refusal.KEY, f"{status} gave {error!r}")


async def _out_of_credit(bench: Bench) -> None:
    """402: no credits are left."""
    error = await bench.error(Answer(status=402, body=b'{"message": "Payment required"}'))
    expect(isinstance(error, ProviderRefused) and error.refusal is Refusal.QUOTA, f"402 gave {error!r}")


async def _overloaded(bench: Bench) -> None:
    """429: overloaded, with the seconds that the server asks for, if it does."""
    for headers, wait_s in (({"Retry-After": "7"}, 7.0), ({}, None), ({"Retry-After": "soon"}, None)):
        error = await bench.error(Answer(status=429, body=b"{}", headers=headers))
        expect(isinstance(error, ProviderOverloaded) and error.retry_after_s == wait_s, f"429 {headers} gave {error!r}")


async def _server_error(bench: Bench) -> None:
    """500, 502, 504: down."""
    for status in (500, 502, 504):
        error = await bench.error(Answer(status=status, body=b"<html>Bad gateway</html>"))
        expect(isinstance(error, ProviderDown), f"{status} gave {error!r}")


async def _silent(bench: Bench) -> None:
    """A server that does not answer in time is down."""
    error = await bench.error(Answer(body=bench.found, is_silent=True), deadline_s=DEADLINE_S)
    expect(isinstance(error, ProviderDown), f"no answer gave {error!r}")


async def _broken_off(bench: Bench) -> None:
    """An answer that stops before its announced end is down."""
    error = await bench.error(Answer(body=bench.found, is_broken_off=True))
    expect(isinstance(error, ProviderDown), f"an answer that broke off gave {error!r}")


async def _nobody_there(bench: Bench) -> None:
    """A refused connection is down."""
    async with Loopback(Answer(body=b"")) as server:
        pass
    try:
        await bench.ask(server)
    except ProviderDown:
        return
    raise ContractBroken("a refused connection raised no ProviderDown")


async def _too_large(bench: Bench) -> None:
    """An answer without end is cut off with an error."""
    await bench.error(Answer(body=b'{"x": "' + b"y" * 65_536, is_endless=True))


async def _redirected(bench: Bench) -> None:
    """A redirect is not followed: the key must not go elsewhere."""
    async with Loopback(Answer(body=bench.found)) as elsewhere:
        error = await bench.error(Answer(status=302, body=b"", headers={"Location": f"{elsewhere.base_url}/x"}))
        expect(not elsewhere.requests, "the redirect was followed")
    expect(isinstance(error, ProviderInvalid), f"a redirect gave {error!r}")


async def _web_page(bench: Bench) -> None:
    """A web page with status 200 is no empty answer."""
    body = b"<!doctype html><html><body>Just a moment...</body></html>"
    error = await bench.error(Answer(body=body, headers={"Content-Type": "text/html"}))
    expect(isinstance(error, ProviderInvalid), f"HTML gave {error!r}")


async def _cut_json(bench: Bench) -> None:
    """Half an answer, and none at all, are no empty answers."""
    for body in (bench.found[: len(bench.found) // 2], b"", b"  \n"):
        error = await bench.error(Answer(body=body))
        expect(isinstance(error, ProviderDown), f"{body[:20]!r} gave {error!r}")


async def _other_forms(bench: Bench) -> None:
    """Valid JSON of another form is no empty answer."""
    for body in (b"{}", b"[]", b"null", b'"ok"', b"3", b"[" * 5000 + b"]" * 5000, b'{"results": 5, "organic": 5}'):
        error = await bench.error(Answer(body=body))
        expect(isinstance(error, ProviderInvalid | ProviderDown), f"{body[:20]!r} gave {error!r}")


async def _disguised(bench: Bench) -> None:
    """An error body under status 200 is an error; one about credits is a refusal."""
    error = await bench.error(Answer(body=b'{"message": "Something went wrong", "statusCode": 500}'))
    expect(isinstance(error, ProviderInvalid | ProviderDown), f"an error body gave {error!r}")


ANSWERS = (_recorded, _nothing, _packed, _bad_letters, _at_once)
LISTS = (_limited, _asked)
FAILURES = (
    _key_refused,
    _out_of_credit,
    _overloaded,
    _server_error,
    _silent,
    _broken_off,
    _nobody_there,
    _too_large,
    _redirected,
    _web_page,
    _cut_json,
    _other_forms,
    _disguised,
)


async def run(bench: B, cases: Sequence[Callable[[B], Awaitable[None]]]) -> int:
    """Run all of them; how many there were. Raises ContractBroken."""
    failed: list[str] = []
    for case in cases:
        said = (case.__doc__ or "a case").strip()
        try:
            await case(bench)
        except (AssertionError, LookupError, TypeError, ValueError, ProviderError, Refused, TimeoutError) as error:
            failed.append(f"{said} -> {type(error).__name__}: {error}")
    if failed:
        raise ContractBroken(f"{len(failed)} of {len(cases)} cases failed:\n  " + "\n  ".join(failed))
    return len(cases)


def expect(claim: bool, otherwise: str) -> None:
    """Raises ContractBroken."""
    if not claim:
        raise ContractBroken(otherwise)
