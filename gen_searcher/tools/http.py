"""A guarded GET: URL -> status, type and a body of bounded size, or why not.

A response we decline is `Refused` and the policy reads the reason; a host that is down after all tries is a
`ProviderError` and the attempt is lost.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import aiohttp
from yarl import URL

from gen_searcher.config.agent import FetchConfig
from gen_searcher.errors import ProviderDown, ProviderError, ProviderOverloaded
from gen_searcher.tools.guard import Address, Guard, Lookup, Refused, check_url, system_lookup
from gen_searcher.tools.meter import try_again

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_CHUNK_BYTES = 65_536
_MOST_DIGITS = 9
"""Of seconds to wait; more is no number of seconds."""
_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})

Pause = Callable[[float], Awaitable[None]]


class Gone(Refused):
    """The server says that there is no such page (404, 410)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A response that was taken."""

    url: str
    """After redirects."""
    content_type: str
    """Without parameters, lower case."""
    charset: str | None
    body: bytes


class PictureSource(Protocol):
    """Brings pictures; a `Fetcher` is one."""

    async def get(self, url: str, *, stage: str, types: Sequence[str]) -> Fetched:
        """See `Fetcher.get`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hop:
    fetched: Fetched | None
    location: str


class _Down(Exception):
    """A try that another may mend."""

    def __init__(self, message: str, *, is_overload: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.is_overload = is_overload
        self.retry_after_s = retry_after_s


class Fetcher:
    """Fetches pages and pictures. One per process; opens its connections on first use."""

    def __init__(
        self,
        config: FetchConfig,
        *,
        allow: Mapping[str, Address] | None = None,
        lookup: Lookup = system_lookup,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`allow` sends hosts by suffix to a server of ours, e.g. `{"mini.web": Address(host="127.0.0.1", port=...)}`."""
        self._config = config
        self._guard = Guard(allow=allow, lookup=lookup)
        self._pause = pause
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, *, stage: str, types: Sequence[str]) -> Fetched:
        """Fetch one URL.

        Args:
            url: Where to start; redirects are followed.
            stage: Names the caller in errors.
            types: Content types that are taken, e.g. `text/html`, or `image/` for all of a family.

        Raises:
            Refused: The address, the response or its size is not acceptable (`Gone` for 404 and 410).
            ProviderError: The host is down.
        """
        try:
            async with asyncio.timeout(self._config.deadline_s):
                return await self._follow(check_url(url, allow=self._guard.allow), stage, types)
        except TimeoutError:
            raise ProviderDown(f"{URL(url).host}: no page within {self._config.deadline_s:g} s", stage) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, here: URL, stage: str, types: Sequence[str]) -> Fetched:
        for _ in range(self._config.max_redirects + 1):
            hop = await self._hop(here, stage, types)
            if hop.fetched is not None:
                return hop.fetched
            here = next_hop(here, hop.location, allow=self._guard.allow)
        raise Refused(f"more than {self._config.max_redirects} redirects")

    async def _hop(self, url: URL, stage: str, types: Sequence[str]) -> _Hop:
        for attempt in range(self._config.attempts):
            try:
                return await self._try(url, types)
            except _Down as down:
                told_s = down.retry_after_s or 0.0
                if attempt + 1 == self._config.attempts or told_s > self._config.retry_max_s:
                    raise _outage(f"{url.host}: {down} ({attempt + 1} tries)", stage, down) from down
                try_again()
                await self._pause(_wait_s(attempt, told_s, self._config))
        raise AssertionError("attempts is at least 1")

    async def _try(self, url: URL, types: Sequence[str]) -> _Hop:
        try:
            async with self._open().get(url, allow_redirects=False) as response:
                return await self._take(url, response, types)
        except aiohttp.ClientConnectorDNSError as error:
            if error.os_error.errno in _NO_SUCH_HOST:
                raise Refused("there is no such host") from error
            raise _Down("name resolution failed") from error
        except TimeoutError as error:
            raise _Down(f"no response within {self._config.total_timeout_s:g} s") from error
        except (aiohttp.InvalidURL, UnicodeError) as error:
            raise Refused("not a valid address") from error
        except aiohttp.ClientSSLError as error:
            raise Refused("no secure connection to this host") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Down(f"{type(error).__name__}: {error}") from error

    async def _take(self, url: URL, response: aiohttp.ClientResponse, types: Sequence[str]) -> _Hop:
        status = response.status
        if status in _REDIRECTS and "Location" in response.headers:
            return _Hop(fetched=None, location=response.headers["Location"])
        if status in _GONE:
            raise Gone(f"there is no such page ({status})")
        if status == 429 or status >= 500:
            wait_s = told_wait_s(response.headers)
            raise _Down(f"status {status}", is_overload=status == 429, retry_after_s=wait_s)
        if status != 200:
            raise Refused(f"the server answered with status {status}")
        if not any(_is_kind(response.content_type, kind) for kind in types):
            raise Refused(f"it is {response.content_type}, which cannot be read")
        if (response.content_length or 0) > self._config.max_bytes:
            raise Refused(f"it is larger than {self._config.max_bytes} bytes")
        body = await read_body(response, self._config.max_bytes)
        fetched = Fetched(url=str(url), content_type=response.content_type, charset=response.charset, body=body)
        return _Hop(fetched=fetched, location="")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._guard,
                use_dns_cache=False,
                limit=self._config.connections,
                limit_per_host=self._config.connections_per_host,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(
                    total=self._config.total_timeout_s, sock_connect=self._config.connect_timeout_s
                ),
                headers={"User-Agent": self._config.user_agent, "Accept-Encoding": "gzip, deflate"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body, unpacked by ourselves so that a small response cannot become a large one before we count it.

    The session must not unpack (`auto_decompress=False`). Raises Refused.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise Refused(f"its encoding {encoding[:20]!r} cannot be read")
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(wbits=47)
    body = bytearray()
    received = 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        received += len(chunk)
        if received > max_bytes:  # what unpacks to nothing has an end too
            raise Refused(f"it is larger than {max_bytes} bytes")
        if unpack is not None and unpack.eof:  # zlib would keep whatever follows
            raise Refused("its encoding is broken")
        try:
            body += chunk if unpack is None else unpack.decompress(chunk, max_bytes + 1 - len(body))
        except zlib.error as error:
            raise Refused("its encoding is broken") from error
        if len(body) > max_bytes:
            raise Refused(f"it is larger than {max_bytes} bytes")
    if unpack is not None and not unpack.eof:
        raise Refused("its encoding is broken")
    return bytes(body)


def _is_kind(content_type: str, kind: str) -> bool:
    return content_type.startswith(kind) if kind.endswith("/") else content_type == kind


def next_hop(here: URL, location: str, *, allow: Mapping[str, Address]) -> URL:
    """Where a redirect leads, checked like any address. Raises Refused."""
    try:
        joined = here.join(URL(location))
    except (ValueError, IndexError):
        raise Refused("it redirects to an invalid address") from None
    there = check_url(str(joined), allow=allow)
    if here.scheme == "https" and there.scheme == "http":
        raise Refused("it redirects from https to http")
    return there


def _outage(message: str, stage: str, down: _Down) -> ProviderError:
    if down.is_overload:
        return ProviderOverloaded(message, stage, down.retry_after_s)
    return ProviderDown(message, stage)


def _wait_s(attempt: int, told_s: float, config: FetchConfig) -> float:
    """Full jitter, after the time that the server asked for."""
    return told_s + random.uniform(0.0, min(config.retry_max_s, config.retry_base_s * 2**attempt))


def told_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `Retry-After`, in either of its forms; None when it says nothing.

    A moment is counted from the server's own `Date`, because the two clocks may differ; from ours without one.
    """
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdecimal() and len(told) <= _MOST_DIGITS:
        return float(told)
    moment = _moment(told)
    if moment is None:
        return None
    return max(0.0, (moment - (_moment(headers.get("Date", "")) or datetime.now(UTC))).total_seconds())


def _moment(header: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return None if moment.tzinfo is None else moment
