"""Spans -> OpenTelemetry's SDK -> OTLP over HTTP, from a thread of its own. The one home of `opentelemetry`.

A provider of ours, never the global one: Ray and vLLM have that. Spans wait in a queue with a bound; what finds it full,
or a receiver that is down or hangs, is lost and said so now and then. Nobody waits for a span to be taken.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from gen_searcher import __version__
from gen_searcher.config.secrets import redact
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import MOST_CHARS, Kind, OpenSpan, SpanId, Value

log = logging.getLogger(__name__)

WAITING = 4096
"""Spans of a process that may wait for the receiver; of later ones the oldest are dropped."""
BATCH = 256
"""Spans of one request: some 100 KiB."""
EVERY_S = 1.0
"""Longest wait of a span for others to travel with."""
REQUEST_S = 5.0
"""Longest time for one batch, repetitions included; then it is lost."""
SAY_EVERY_S = 300.0
"""Between two log lines about spans that were lost."""
MOST_ATTRIBUTES = 32
"""Of one span; ours have fewer."""
_EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Whose spans these are."""

    run: str
    role: str
    node: str | None
    """Ray's id of the node; None when it is not known."""

    @property
    def resource(self) -> Resource:
        """As OpenTelemetry describes who says something."""
        return Resource.create(
            {
                "service.name": names.SERVICE,
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
                "host.name": socket.gethostname(),
                "process.pid": os.getpid(),
                names.RUN: self.run,
                names.ROLE: self.role,
                **({} if self.node is None else {names.NODE: self.node}),
            }
        )


class OtlpRecorder:
    """A `Recorder` whose spans go to a receiver."""

    def __init__(self, url: str, *, headers: Mapping[str, str], process: Process) -> None:
        """Nothing is sent yet, and nobody is asked whether it is there."""
        quiet = _Quiet()
        logging.getLogger(_EXPORTER_LOG).addFilter(quiet)
        exporter = OTLPSpanExporter(
            endpoint=url,
            headers=headers,
            timeout=REQUEST_S,
            compression=Compression.Gzip,
            meter_provider=NoOpMeterProvider(),
        )
        self._processor = BatchSpanProcessor(
            _Reporting(exporter, url, quiet),
            max_queue_size=WAITING,
            schedule_delay_millis=EVERY_S * 1000,
            max_export_batch_size=BATCH,
            meter_provider=NoOpMeterProvider(),
        )
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # which attempts are traced is decided by their seeds
            resource=process.resource,
            shutdown_on_exit=False,  # it would wait half a minute for a receiver that hangs
            id_generator=_OwnIds(),
            span_limits=SpanLimits(max_span_attributes=MOST_ATTRIBUTES, max_span_attribute_length=MOST_CHARS),
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer(names.SERVICE, __version__)

    def begin(
        self,
        name: str,
        *,
        parent: SpanId | None,
        kind: Kind,
        attributes: Mapping[str, Value],
        begins_ns: int | None = None,
    ) -> OpenSpan:
        """See `Recorder`."""
        context = set_span_in_context(NonRecordingSpan(_context_of(parent))) if parent is not None else _NO_PARENT
        return _OpenSdkSpan(
            self._tracer.start_span(
                name,
                context=context,
                kind=_KINDS[kind],
                attributes=attributes,
                start_time=begins_ns,
                record_exception=False,
                set_status_on_exception=False,
            )
        )

    def flush(self) -> None:
        """Send what waits. May take `REQUEST_S` for each batch."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send what waits and end the thread. May take half a minute."""
        self._provider.shutdown()


_NO_PARENT = set_span_in_context(NonRecordingSpan(SpanContext(trace_id=0, span_id=0, is_remote=False)))


def _context_of(span: SpanId) -> SpanContext:
    return SpanContext(
        trace_id=int(span.trace_id, 16),
        span_id=int(span.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


class _OpenSdkSpan:
    """An `OpenSpan` of the SDK."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span

    @property
    def identity(self) -> SpanId:
        context = self._span.get_span_context()
        return SpanId(trace_id=format_trace_id(context.trace_id), span_id=format_span_id(context.span_id))

    def note(self, attributes: Mapping[str, Value]) -> None:
        self._span.set_attributes(attributes)

    def fail(self, why: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, why))

    def end(self) -> None:
        self._span.end()


class _OwnIds(IdGenerator):
    """Ids from the system: the SDK's come from `random`, whose state belongs to whoever seeds it in this process."""

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1


class _Quiet(logging.Filter):
    """Keeps back what the exporter says of every failed request of ours; the last of it is told with ours."""

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()
        self.said = ""

    def begin(self) -> None:
        """In this thread, from now on."""
        self._of_thread.is_ours = True

    def end(self) -> None:
        """No longer."""
        self._of_thread.is_ours = False

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = vars(self._of_thread).get("is_ours", False)
        if is_ours:
            self.said = record.getMessage()
        return not is_ours


class _Reporting(SpanExporter):
    """Counts the spans that the receiver did not take, and says so now and then."""

    def __init__(self, exporter: SpanExporter, url: str, quiet: _Quiet) -> None:
        self._exporter = exporter
        self._url = url
        self._quiet = quiet
        self._lost = 0
        self._said_s: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; called by the processor's thread, or by one that flushes."""
        self._quiet.begin()
        try:
            result = self._exporter.export(spans)
        finally:
            self._quiet.end()
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                log.info("traces: %s takes spans again", self._url)
            self._lost, self._said_s = 0, None
            return result
        self._lost += len(spans)
        now_s = time.monotonic()
        if self._said_s is None or now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            said = redact(self._quiet.said)
            log.warning("traces: %s took none of %d spans (%s); the run goes on", self._url, self._lost, said)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
