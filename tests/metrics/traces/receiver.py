"""A real receiver of OTLP over HTTP on loopback, in a thread of its own, that remembers every span."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A span as it arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    is_error: bool
    said: str
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]


@dataclass(slots=True, kw_only=True)
class Receiver:
    """What it does, and what it got."""

    url: str = ""
    status: int = 200
    go_on: threading.Event = field(default_factory=threading.Event)
    """Unset: requests hang."""
    bodies: list[bytes] = field(default_factory=list[bytes])
    headers: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    spans: list[Seen] = field(default_factory=list[Seen])
    got: threading.Event = field(default_factory=threading.Event)
    """Set with the first request."""

    def traces(self) -> dict[str, list[Seen]]:
        """Spans by trace."""
        found: dict[str, list[Seen]] = {}
        for span in self.spans:
            found.setdefault(span.trace_id, []).append(span)
        return found

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()  # aiohttp has unpacked it
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.got.set()
        await asyncio.to_thread(self.go_on.wait, 60.0)
        if self.status == 200:
            self.spans += read(body)
        return web.Response(status=self.status)


def read(body: bytes) -> Iterator[Seen]:
    """The spans of a request."""
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = values(of_process.resource.attributes)
        for scope in of_process.scope_spans:
            for span in scope.spans:
                yield Seen(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    is_error=span.status.code == Status.STATUS_CODE_ERROR,
                    said=span.status.message,
                    attributes=values(span.attributes),
                    resource=resource,
                )


def values(attributes: object) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for pair in attributes:  # pyright: ignore[reportGeneralTypeIssues]  a protobuf container
        assert isinstance(pair, KeyValue)
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        found[pair.key] = getattr(pair.value, kind)
    return found


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers at once, until it is told otherwise."""
    receiver = Receiver()
    receiver.go_on.set()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app(receiver), access_log=None, shutdown_timeout=0.1)

    async def begin() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}"

    loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.go_on.set()
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def app(receiver: Receiver) -> web.Application:
    made = web.Application(client_max_size=64 << 20)
    made.router.add_post("/v1/traces", receiver.take)
    return made
