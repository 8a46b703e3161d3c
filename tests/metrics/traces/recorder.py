"""A recorder that keeps its spans, for tests of what is recorded and not of how it travels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from gen_searcher.metrics.traces.spans import Kind, Recording, SpanId, Value, record_with


@dataclass(slots=True, kw_only=True)
class Kept:
    """A span, while it is open and after."""

    name: str
    parent: SpanId | None
    kind: Kind
    attributes: dict[str, Value]
    identity: SpanId
    begins_ns: int
    error: str | None = None
    ends_ns: int | None = None

    def note(self, attributes: Mapping[str, Value]) -> None:
        self.attributes |= attributes

    def fail(self, why: str) -> None:
        self.error = why

    def end(self) -> None:
        assert self.ends_ns is None, "it has ended already"
        self.ends_ns = time.time_ns()


@dataclass(slots=True, kw_only=True)
class Keeps:
    """A `Recorder`."""

    spans: list[Kept] = field(default_factory=list[Kept])

    def begin(
        self,
        name: str,
        *,
        parent: SpanId | None,
        kind: Kind,
        attributes: Mapping[str, Value],
        begins_ns: int | None = None,
    ) -> Kept:
        number = len(self.spans) + 1
        trace_id = f"{number:032x}" if parent is None else parent.trace_id
        identity = SpanId(trace_id=trace_id, span_id=f"{number:016x}")
        began = time.time_ns() if begins_ns is None else begins_ns
        span = Kept(
            name=name, parent=parent, kind=kind, attributes=dict(attributes), identity=identity, begins_ns=began
        )
        self.spans.append(span)
        return span

    def named(self, name: str) -> list[Kept]:
        return [span for span in self.spans if span.name == name]


@contextmanager
def recorded(*, share: float = 1.0) -> Iterator[Keeps]:
    """This process records, for the length of the block."""
    keeps = Keeps()
    record_with(Recording(recorder=keeps, share=share))
    try:
        yield keeps
    finally:
        record_with(None)
    assert [span.name for span in keeps.spans if span.ends_ns is None] == []
