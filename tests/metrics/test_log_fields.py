"""Log lines that say what they are about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from gen_searcher.config.redaction import guard_process
from gen_searcher.metrics.log_fields import JsonLines, current_fields, log_fields


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logger `fields` writes."""
    before = logging.getLogRecordFactory()
    guard_process()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    log = logging.getLogger("fields")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield stream
    log.removeHandler(handler)
    logging.setLogRecordFactory(before)


def lines(written: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_carries_the_fields_of_its_block_and_of_those_around_it(written: io.StringIO) -> None:
    log = logging.getLogger("fields")
    with log_fields(run="laptop", command="grpo"):
        with log_fields(step=3, task="train-1"):
            log.info("inside %d", 1)
        log.warning("outside")
    log.info("nowhere")
    inside, outside, nowhere = lines(written)
    assert inside.items() >= {"message": "inside 1", "run": "laptop", "step": 3, "task": "train-1"}.items()
    assert inside.items() >= {"levelname": "INFO", "name": "fields"}.items()
    assert "step" not in outside
    assert outside["command"] == "grpo"
    assert not {"run", "step", "task"} & nowhere.keys()
    assert dict(current_fields()) == {}


async def test_attempts_beside_each_other_keep_their_lines_apart(written: io.StringIO) -> None:
    turn = asyncio.Event()

    async def attempt(seed: int) -> None:
        with log_fields(attempt=seed):
            if seed == 1:
                await turn.wait()
            logging.getLogger("fields").info("of %d", seed)
            turn.set()

    with log_fields(step=1):
        await asyncio.gather(attempt(1), attempt(2))
    assert [(line["message"], line["step"], line["attempt"]) for line in lines(written)] == [
        ("of 2", 1, 2),
        ("of 1", 1, 1),
    ]


def test_an_error_is_one_line_with_its_traceback(written: io.StringIO) -> None:
    try:
        raise KeyError("typo")
    except KeyError:
        logging.getLogger("fields").exception("a bug")
    (line,) = lines(written)
    assert "KeyError: 'typo'" in str(line["exc_text"])
