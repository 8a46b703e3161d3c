"""Spans of an attempt, in whatever process works on it.

    driver   attempt > try > invoke_agent | draw | judge     open for as long as they wait for a worker
    workers  chat, execute_tool, generate_content, evaluate  below what the caller said with its call (`carried`, `under`)

Nothing is recorded outside an attempt that is traced, and nothing at all unless this process exports (`process.start`):
then `span` hands out one shared object that does nothing. No span becomes OpenTelemetry's current one, so that Ray and
vLLM, which use its global state, neither see ours nor change it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Literal, Protocol, TypedDict

from gen_searcher.config.secrets import redact
from gen_searcher.errors import WorldError
from gen_searcher.metrics.traces import names

Value = str | int | float | bool
Attributes = Mapping[str, Value | None]
"""A name with None is left out."""
Kind = Literal["internal", "client", "server"]

NOTHING: Attributes = MappingProxyType({})
MOST_CHARS = 200
"""Of any text in a span."""
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanId:
    """Which span of which trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""

    @property
    def traceparent(self) -> str:
        """As W3C Trace Context writes it."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    @classmethod
    def read(cls, traceparent: str | None) -> SpanId | None:
        """The span that `traceparent` names; None for what names none."""
        found = _TRACEPARENT.fullmatch(traceparent or "")
        return None if found is None else cls(trace_id=found[1], span_id=found[2])


class OpenSpan(Protocol):
    """A span that is being recorded."""

    @property
    def identity(self) -> SpanId:
        """Which one it is."""
        ...

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes."""
        ...

    def fail(self, why: str) -> None:
        """Mark it as an error."""
        ...

    def end(self) -> None:
        """Hand it to the exporter, which never waits."""
        ...


class Recorder(Protocol):
    """Makes spans."""

    def begin(
        self,
        name: str,
        *,
        parent: SpanId | None,
        kind: Kind,
        attributes: Mapping[str, Value],
        begins_ns: int | None = None,
    ) -> OpenSpan:
        """A span that begins now, or began at `begins_ns` [since 1970]. Without a parent it begins a trace."""
        ...


class Here(Protocol):
    """What spans that begin now belong to."""

    @property
    def identity(self) -> SpanId:
        """The parent of those spans."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Say something about it, if it is a span of this process."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What this process does with spans."""

    recorder: Recorder
    share: float
    """Of the attempts, 0..1."""

    def takes(self, task_id: str, seed: int) -> bool:
        """Whether the attempt is traced: the same answer in every process and every start of a run."""
        digest = hashlib.sha256(f"trace/{task_id}/{seed}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


@dataclass(slots=True, kw_only=True)
class _OfProcess:
    recording: Recording | None = None


_PROCESS = _OfProcess()
"""Of the process and not of an object, because where a log line goes is too."""
_HERE: ContextVar[Here | None] = ContextVar("here", default=None)


def record_with(recording: Recording | None) -> None:
    """From here on this process records; None: it does not."""
    _PROCESS.recording = recording


def recording() -> Recording | None:
    """What `record_with` said last."""
    return _PROCESS.recording


class Span:
    """A span around a block; made by `span`. What leaves the block as an exception marks it as an error."""

    def __init__(
        self, recorder: Recorder, name: str, *, parent: SpanId, kind: Kind, attributes: Mapping[str, Value]
    ) -> None:
        """It begins when the block does."""
        self._begin = lambda: recorder.begin(name, parent=parent, kind=kind, attributes=attributes)
        self._open: OpenSpan | None = None
        self._before: Token[Here | None] | None = None

    @property
    def identity(self) -> SpanId:
        """See `Here`."""
        assert self._open is not None
        return self._open.identity

    def note(self, attributes: Attributes) -> None:
        """Add attributes; texts are cut, and tell no secret."""
        if self._open is not None:
            self._open.note(bounded(attributes))

    def __enter__(self) -> Span:
        """Begin it; spans that begin in the block belong to it."""
        self._open = self._begin()
        self._before = _HERE.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        assert self._open is not None
        assert self._before is not None
        _HERE.reset(self._before)
        if error is not None:
            fail(self._open, error)
        self._open.end()


class Under:
    """A block whose spans belong to one that began elsewhere; made by `under` and by an attempt's tries."""

    def __init__(self, here: Here | None) -> None:
        """None: what begins in the block is not recorded."""
        self._here = here
        self._before: Token[Here | None] | None = None

    def __enter__(self) -> None:
        """From here on."""
        self._before = _HERE.set(self._here)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Until here."""
        assert self._before is not None
        _HERE.reset(self._before)


class Untraced:
    """What stands for a span, or for a block under one, where nothing is recorded."""

    def note(self, attributes: Attributes) -> None:
        """Forget it."""

    def __enter__(self) -> Untraced:
        """Nothing begins."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing ends."""


UNTRACED = Untraced()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elsewhere:
    """A span of another process."""

    identity: SpanId

    def note(self, attributes: Attributes) -> None:
        """Only the process that began it can add to it."""


def span(name: str, attributes: Attributes = NOTHING, *, kind: Kind = "internal") -> Span | Untraced:
    """A span around a block, below the one that this is called in; nothing outside a traced attempt."""
    here, made = _HERE.get(), _PROCESS.recording
    if here is None or made is None:
        return UNTRACED
    return Span(made.recorder, name, parent=here.identity, kind=kind, attributes=bounded(attributes))


def note(attributes: Attributes) -> None:
    """Say something about the span that this is called in."""
    here = _HERE.get()
    if here is not None:
        here.note(attributes)


class Carried(TypedDict, total=False):
    """A keyword of the actors' methods."""

    trace: str
    """The caller's span as W3C Trace Context writes it."""


def carried() -> Carried:
    """Keywords that take the span of this context along to another process; none where nothing is recorded."""
    here = _HERE.get()
    if here is None or _PROCESS.recording is None:
        return {}
    return {"trace": here.identity.traceparent}


def under(trace: str | None) -> Under | Untraced:
    """A block of a worker that was called with what is `carried`."""
    parent = SpanId.read(trace) if _PROCESS.recording is not None else None
    return UNTRACED if parent is None else Under(_Elsewhere(identity=parent))


def bounded(attributes: Attributes) -> dict[str, Value]:
    """The attributes without those that are None; texts on one line, of `MOST_CHARS` at most, without secrets."""
    return {
        name: brief(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }


def brief(text: str) -> str:
    """The last line with words in it, which of a traceback is what happened; cut, without secrets."""
    lines = [line.strip() for line in redact(text).splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last if len(last) <= MOST_CHARS else last[: MOST_CHARS - 1] + "…"


def fail(opened: OpenSpan, error: BaseException) -> None:
    """Mark the span with the kind of the error and, of the world's failures, where it happened and what was said.

    What another exception says is not repeated: it may quote anything.
    """
    said = {names.ERROR_TYPE: type(error).__qualname__}
    if isinstance(error, WorldError):
        said |= {names.STAGE: brief(error.stage), names.REASON: brief(error.message)}
    opened.note(said)
    opened.fail(f"{said[names.STAGE]}: {said[names.REASON]}" if names.STAGE in said else said[names.ERROR_TYPE])
