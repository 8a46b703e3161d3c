"""Spans arrive at a real receiver, and one that is down, hangs or refuses costs nobody anything but the spans."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Iterator

import pytest

from gen_searcher.config.trace import TraceConfig
from gen_searcher.errors import ProviderDown
from gen_searcher.metrics.traces import names, otlp, process
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.metrics.traces.process import TraceSetup
from gen_searcher.metrics.traces.spans import MOST_CHARS, carried, recording, span, under
from tests.metrics.traces.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def setup(url: str, **settings: object) -> TraceSetup:
    config = TraceConfig.model_validate({"endpoint": url, **settings})
    made = TraceSetup.of(config, run="a-run")
    assert made is not None
    return made


def work(count: int = 1) -> None:
    for seed in range(count):
        with AttemptTrace("t1", seed=seed) as attempt, attempt.one_try() as this:
            with span("draw", {"text": "word " * 1000}, kind="client"):
                sent = carried()
            with under(sent.get("trace")), span("generate_content", kind="server"):
                pass
            this.lose("browse", "no host")
            attempt.made({names.REWARD: 0.5})


async def test_spans_arrive_with_their_parents_their_process_and_bounded_texts(receiver: Receiver) -> None:
    process.start(setup(receiver.url), role="driver", node="beef")
    work()
    await process.stop()
    spans = {each.name: each for each in receiver.spans}
    assert sorted(spans) == ["attempt", "draw", "generate_content", "try"]
    attempt, one, draw, served = (spans[name] for name in ("attempt", "try", "draw", "generate_content"))
    assert [each.parent_id for each in (attempt, one, draw, served)] == [
        "",
        attempt.span_id,
        one.span_id,
        draw.span_id,
    ]
    assert {each.trace_id for each in receiver.spans} == {attempt.trace_id}
    assert len(attempt.trace_id) == 32
    assert (one.is_error, one.said, attempt.is_error) == (True, "browse: no host", False)
    text = draw.attributes["text"]
    assert isinstance(text, str)
    assert len(text) == MOST_CHARS
    resource = attempt.resource
    assert resource["service.name"] == "gen_searcher"
    assert resource["process.pid"] == os.getpid()
    assert (resource[names.RUN], resource[names.ROLE], resource[names.NODE]) == ("a-run", "driver", "beef")
    assert attempt.start_ns <= one.start_ns <= draw.start_ns <= draw.end_ns <= one.end_ns <= attempt.end_ns


async def test_headers_hold_the_secret_and_nothing_else_does(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTLP_AUTHORIZATION", "Bearer sesame-open-8123")
    receiver.status = 401
    with caplog.at_level(logging.DEBUG):
        process.start(setup(receiver.url, headers={"authorization": "env:OTLP_AUTHORIZATION"}), role="driver")
        with pytest.raises(ProviderDown), AttemptTrace("t1", seed=1) as attempt, attempt.one_try(), span("draw"):
            raise ProviderDown("you sent Bearer sesame-open-8123", "search")
        await process.stop()
    assert [sent["Authorization"] for sent in receiver.headers] == ["Bearer sesame-open-8123"]
    assert all(b"sesame" not in body for body in receiver.bodies)
    assert all(b"[secret]" in body for body in receiver.bodies)
    assert "sesame" not in caplog.text
    assert "took none of 3 spans" in caplog.text


async def test_a_secret_that_a_worker_cannot_read_costs_it_its_traces_and_nothing_else(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("OTLP_AUTHORIZATION", raising=False)
    process.start(setup(receiver.url, headers={"authorization": "env:OTLP_AUTHORIZATION"}), role="tool")
    assert recording() is None
    assert "this tool process sends none: the environment variable OTLP_AUTHORIZATION is not set" in caplog.text
    await process.flush()


async def test_a_receiver_that_is_not_there_is_told_once_and_the_work_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "REQUEST_S", 0.05)
    with socket.socket() as held:  # bound and not listening: nobody else gets the port, nobody answers
        held.bind(("127.0.0.1", 0))
        process.start(setup(f"http://127.0.0.1:{held.getsockname()[1]}"), role="driver")
        for _ in range(3):
            work(10)
            await process.flush()
        await process.stop()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in told] == [otlp.__name__]
    assert "took none of 40 spans" in told[0].getMessage()
    assert "the run goes on" in told[0].getMessage()


async def test_a_receiver_that_comes_back_is_told_too(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.status = 400
    process.start(setup(receiver.url), role="driver")
    with caplog.at_level(logging.INFO):
        work()
        await process.flush()
        receiver.status = 200
        work()
        await process.stop()
    assert "took none of 4 spans" in caplog.text
    assert "takes spans again" in caplog.text
    assert len(receiver.traces()) == 1


async def test_a_receiver_that_hangs_holds_up_neither_the_work_nor_the_end(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FLUSH_S", 0.05)
    monkeypatch.setattr(otlp, "WAITING", 300)
    receiver.go_on.clear()
    process.start(setup(receiver.url), role="driver")
    work(200)  # 800 spans, more than may wait; returns although nothing is answered
    assert await asyncio.to_thread(receiver.got.wait, 30.0)
    await process.stop()  # returns although nothing is answered
    assert receiver.spans == []
    assert "the last spans were not taken within 0.05 s" in caplog.text
    assert recording() is None


async def test_what_does_not_fit_the_queue_is_dropped_and_the_latest_arrive(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "WAITING", 300)
    receiver.go_on.clear()
    process.start(setup(receiver.url), role="driver")
    work(200)
    receiver.go_on.set()
    await process.stop()
    assert 300 <= len(receiver.spans) < 800
    assert {each.attributes[names.ATTEMPT_SEED] for each in receiver.spans if each.name == "attempt"} >= {199}


async def test_another_setup_in_the_same_process_changes_nothing(receiver: Receiver) -> None:
    process.start(setup(receiver.url), role="driver")
    process.start(setup("http://127.0.0.1:9"), role="reward")
    work()
    await process.stop()
    assert len(receiver.spans) == 4


async def test_ids_do_not_move_the_generator_of_random_numbers_that_others_have_seeded(receiver: Receiver) -> None:
    process.start(setup(receiver.url), role="driver")
    random.seed(7)
    state = random.getstate()
    with AttemptTrace("t1", seed=1) as attempt, attempt.one_try(), span("draw"):
        assert random.getstate() == state
    await process.stop()
    assert len(receiver.spans) == 3


async def test_the_global_provider_and_context_are_left_to_others(receiver: Receiver) -> None:
    from opentelemetry import trace

    before = trace.get_tracer_provider()
    process.start(setup(receiver.url), role="driver")
    with AttemptTrace("t1", seed=1) as attempt, attempt.one_try(), span("draw"):
        assert not trace.get_current_span().get_span_context().is_valid
    assert trace.get_tracer_provider() is before
    await process.stop()


def test_off_there_is_no_setup() -> None:
    assert TraceSetup.of(TraceConfig(), run="r") is None
    assert TraceSetup.of(TraceConfig(endpoint="http://h:1", sample=0.0), run="r") is None
