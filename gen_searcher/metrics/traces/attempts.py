"""One attempt as one trace: the attempt > each try > whatever the try waits for.

A try that waits for nobody leaves nothing: an attempt that was kept from before a restart has been traced already.
"""

from __future__ import annotations

import time
from types import TracebackType

from gen_searcher.errors import CUT_OFF
from gen_searcher.metrics.log_fields import current_fields
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.spans import (
    NOTHING,
    Attributes,
    OpenSpan,
    Recorder,
    SpanId,
    Under,
    bounded,
    brief,
    fail,
    recording,
)

GIVEN_UP = "given up before it ended"


class AttemptTrace:
    """The trace of one attempt: enter it around all its tries. Costs next to nothing when the attempt is not traced."""

    def __init__(self, task_id: str, *, seed: int) -> None:
        """`seed`: the attempt's."""
        made = recording()
        self._recorder: Recorder | None = made.recorder if made is not None and made.takes(task_id, seed) else None
        self._task_id = task_id
        self._seed = seed
        self._began_ns = 0
        self._root: OpenSpan | None = None
        self._said: Attributes = NOTHING
        self._lost: str | None = None
        self._loss: Attributes = NOTHING
        self.tries = 0

    def __enter__(self) -> AttemptTrace:
        """The attempt begins."""
        self._began_ns = time.time_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The attempt has ended: made, or lost with its last try."""
        if self._root is None:
            return
        self._root.note(bounded({**self._said, **self._loss, names.TRIES: self.tries}))
        if self._lost is not None:
            self._root.fail(self._lost)
        self._root.end()

    @property
    def recorder(self) -> Recorder | None:
        """None for an attempt that is not traced."""
        return self._recorder

    def one_try(self) -> TryTrace:
        """The next try: enter it around its work."""
        self.tries += 1
        return TryTrace(self, number=self.tries)

    def made(self, said: Attributes) -> None:
        """The attempt is made, or that part of it is which was tried; says what came of it."""
        self._said = {**self._said, **said}
        self._lost, self._loss = None, NOTHING

    def lost(self, why: str, said: Attributes) -> None:
        """The try that has just ended is lost; so is the attempt, unless another try makes it."""
        self._lost, self._loss = why, said

    def root(self, recorder: Recorder) -> SpanId:
        """The attempt's own span, which begins with the attempt."""
        if self._root is None:
            fields = current_fields()
            about: Attributes = {
                names.TASK: self._task_id,
                names.ATTEMPT_SEED: self._seed,
                names.COMMAND: fields.get("command"),
                names.STEP: fields.get("step"),
            }
            self._root = recorder.begin(
                "attempt", parent=None, kind="internal", attributes=bounded(about), begins_ns=self._began_ns
            )
        return self._root.identity


class TryTrace:
    """One try; its span begins with it, once somebody asks for it."""

    def __init__(self, attempt: AttemptTrace, *, number: int) -> None:
        """Made by `AttemptTrace.one_try`."""
        self._attempt = attempt
        self._number = number
        self._began_ns = 0
        self._open: OpenSpan | None = None
        self._is_lost = False
        self._within = Under(None if attempt.recorder is None else self)

    @property
    def identity(self) -> SpanId:
        """See `Here`; asking for it begins the span."""
        assert self._attempt.recorder is not None
        return self._opened(self._attempt.recorder).identity

    def note(self, attributes: Attributes) -> None:
        """See `Here`."""
        if self._open is not None:
            self._open.note(bounded(attributes))

    def __enter__(self) -> TryTrace:
        """Spans that begin in the block belong to the try."""
        self._began_ns = time.time_ns()
        self._within.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The try has ended. One that is cancelled was given up by us: too late for its group, or the run ends."""
        self._within.__exit__(kind, error, trace)
        if self._open is None:
            return
        if isinstance(error, Exception) and not self._is_lost:
            fail(self._open, error)
            self._attempt.lost(type(error).__qualname__, {names.ERROR_TYPE: type(error).__qualname__})
        elif error is not None and not self._is_lost:
            self.lose(CUT_OFF, GIVEN_UP)
        self._open.end()

    def lose(self, stage: str, reason: str) -> None:
        """The world spoiled it: recorded even when nobody was asked yet."""
        recorder = self._attempt.recorder
        if recorder is None:
            return
        said = {names.ERROR_TYPE: brief(stage), names.STAGE: brief(stage), names.REASON: brief(reason)}
        why = f"{said[names.STAGE]}: {said[names.REASON]}"
        opened = self._opened(recorder)
        opened.note(said)
        opened.fail(why)
        self._is_lost = True
        self._attempt.lost(why, said)

    def _opened(self, recorder: Recorder) -> OpenSpan:
        if self._open is None:
            self._open = recorder.begin(
                "try",
                parent=self._attempt.root(recorder),
                kind="internal",
                attributes={names.TRY: self._number},
                begins_ns=self._began_ns,
            )
        return self._open
