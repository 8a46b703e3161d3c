"""Spans: off they are nothing, on they know their parents, and they tell no more than they may."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gen_searcher.errors import ProviderDown
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.metrics.traces.spans import MOST_CHARS, UNTRACED, SpanId, brief, carried, note, span, under
from tests.metrics.traces.recorder import recorded

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_without_a_recorder_a_span_is_one_shared_nothing_even_within_an_attempt() -> None:
    assert span("chat") is UNTRACED
    with AttemptTrace("t1", seed=3) as attempt, attempt.one_try() as this:
        assert span("chat", {"a": 1}) is UNTRACED
        assert carried() == {}
        assert under(PARENT) is UNTRACED
        this.lose("search", "down")


def test_with_a_recorder_nothing_is_recorded_outside_an_attempt() -> None:
    with recorded() as keeps:
        assert span("chat") is UNTRACED
        note({"a": 1})
        assert carried() == {}
    assert keeps.spans == []


def test_what_is_carried_names_the_span_and_a_worker_goes_on_below_it() -> None:
    with recorded() as keeps:
        with AttemptTrace("t1", seed=3) as attempt, attempt.one_try(), span("draw", kind="client"):
            note({names.WORKER: 2})
            sent = carried()
        with under(sent.get("trace")), span("generate_content", {"a": 1, "b": None}, kind="server") as this:
            this.note({"c": "x"})
    whole, one, draw, served = keeps.spans
    assert [each.name for each in keeps.spans] == ["attempt", "try", "draw", "generate_content"]
    assert [each.parent for each in keeps.spans] == [None, whole.identity, one.identity, draw.identity]
    assert {each.identity.trace_id for each in keeps.spans} == {whole.identity.trace_id}
    assert draw.attributes == {names.WORKER: 2}
    assert served.attributes == {"a": 1, "c": "x"}
    assert [each.kind for each in keeps.spans] == ["internal", "internal", "client", "server"]


def test_a_worker_that_calls_another_one_passes_on_what_it_was_called_with() -> None:
    with recorded(), under(PARENT):
        assert carried() == {"trace": PARENT}
        with span("chat"):
            assert carried() != {"trace": PARENT}


def test_spans_of_attempts_beside_each_other_keep_apart() -> None:
    async def work(seed: int, gate: asyncio.Barrier) -> None:
        with AttemptTrace("t1", seed=seed) as attempt, attempt.one_try(), span(f"draw {seed}"):
            await gate.wait()
            with span(f"inner {seed}"):
                await gate.wait()

    async def both() -> None:
        gate = asyncio.Barrier(2)
        await asyncio.gather(work(1, gate), work(2, gate))

    with recorded() as keeps:
        asyncio.run(both())
    for seed in (1, 2):
        (outer,), (inner,) = keeps.named(f"draw {seed}"), keeps.named(f"inner {seed}")
        assert inner.parent == outer.identity
    assert len({each.identity.trace_id for each in keeps.spans}) == 2


@pytest.mark.parametrize("text", [None, "", "00-0-0-01", PARENT.upper(), f"{PARENT}-more", "rubbish"])
def test_what_names_no_span_is_no_parent(text: str | None) -> None:
    assert SpanId.read(text) is None
    with recorded():
        assert under(text) is UNTRACED


def test_a_span_reads_back_what_it_writes() -> None:
    found = SpanId.read(PARENT)
    assert found is not None
    assert found.traceparent == PARENT


def test_a_failure_of_the_world_is_told_and_of_a_bug_only_its_kind() -> None:
    def work(error: Exception) -> None:
        with AttemptTrace("t1", seed=3) as attempt, attempt.one_try(), span("x"):
            raise error

    for error in (ProviderDown("no answer from host", "search"), ValueError("the page said: buy gold")):
        with recorded() as keeps, pytest.raises(type(error)):
            work(error)
        (failed,) = keeps.named("x")
        if isinstance(error, ProviderDown):
            assert failed.error == "search: no answer from host"
            assert failed.attributes[names.STAGE] == "search"
        else:
            assert failed.error == "ValueError"
        assert failed.attributes[names.ERROR_TYPE] == type(error).__name__
        assert "gold" not in str(keeps.spans)


def test_a_text_is_its_last_line_cut_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sesame-open-8123")
    assert (
        brief("Traceback:\n  File x\nValueError: key sesame-open-8123 is wrong\n\n")
        == "ValueError: key [secret] is wrong"
    )
    long = brief("word " * 500)
    assert len(long) == MOST_CHARS
    assert long.endswith("…")
    assert brief("") == ""


def test_nothing_of_opentelemetry_is_imported_while_traces_are_off() -> None:
    code = (
        "import sys\n"
        "import gen_searcher.metrics.traces.spans, gen_searcher.metrics.traces.process, gen_searcher.train.attempt\n"
        "from gen_searcher.config.trace import TraceConfig\n"
        "from gen_searcher.metrics.traces import process\n"
        "process.start(process.TraceSetup.of(TraceConfig(), run='r'), role='driver')\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=100, check=False).returncode == 0


def test_every_attribute_that_the_page_names_exists() -> None:
    page = (Path(__file__).parents[3] / "conf" / "trace" / "README.md").read_text()
    named = set(re.findall(r"`(gen_searcher\.[a-z_.]+)`", page))
    assert len(named) >= 7
    assert named <= {value for value in vars(names).values() if isinstance(value, str)}
