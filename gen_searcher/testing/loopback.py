"""A web server on loopback that gives one answer to everything, by its own rules of HTTP: raw bytes, no library.

A library would not let us break off, stay silent or stream without end where we want to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qsl, urlsplit

_CHUNKS = 2_000
"""An answer without end stops here, so that a client without a bound fails rather than fills the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server gives."""

    status: int = 200
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Beside `Content-Type: application/json`, which they may replace."""
    is_silent: bool = False
    """Take the request and say nothing."""
    is_broken_off: bool = False
    """Announce the whole body, send half of it and hang up."""
    is_endless: bool = False
    """Send the body over and over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request."""

    method: str
    target: str
    """Path and query as they were sent."""
    headers: Mapping[str, str]
    body: str

    @property
    def query(self) -> Mapping[str, str]:
        """Parameters of the address."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def fields(self) -> Mapping[str, object]:
        """The JSON object of the body; empty without one."""
        return cast("dict[str, object]", json.loads(self.body)) if self.body else {}


class Loopback:
    """`async with Loopback(answer) as server`: `server.base_url` answers, `server.requests` remembers."""

    def __init__(self, *answers: Answer) -> None:
        """One answer after the other; the last one for ever."""
        self._answers = list(answers)
        self.requests: list[Received] = []
        self.base_url = ""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Loopback:
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.base_url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.ensure_future(self._talk(reader, writer))
        self._talks.add(talk)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await _received(reader))
            answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
            if answer.is_silent:
                await reader.read()  # until the client hangs up
                return
            writer.write(_head(answer))
            if answer.is_endless:
                for _ in range(_CHUNKS):
                    writer.write(answer.body)
                    await writer.drain()
            writer.write(answer.body[: len(answer.body) // 2] if answer.is_broken_off else answer.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has seen enough
        finally:
            writer.close()


def _head(answer: Answer) -> bytes:
    headers = {"Content-Type": "application/json", "Connection": "close", **answer.headers}
    if not answer.is_endless:
        headers["Content-Length"] = str(len(answer.body))
    lines = [f"HTTP/1.1 {answer.status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _received(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(next((value for name, value in headers.items() if name.lower() == "content-length"), "0"))
    return Received(method=method, target=target, headers=headers, body=(await reader.readexactly(length)).decode())
