"""A process that writes the ledger as fast as it can, killed at random instants: what is left is whole."""

from __future__ import annotations

import multiprocessing
import random
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from gen_searcher.ledger.book import BookedStep, Ledger
from gen_searcher.ledger.recovery import roll_back
from gen_searcher.ledger.states import State
from tests.ledger.groups import group, task

KILLS = 15


@dataclass
class Token:
    token: int

    def check(self) -> None:
        """Only the database guards."""


def write_on(path: Path, token: int, began: Event) -> None:
    """Begin two instances, end them, book a step that uses both, for ever; `began` is set with the first step."""
    with closing(Ledger.open(path, fence=Token(token))) as ledger:
        for step in count(1 + ledger.tally().counts[State.TRAINED]):
            found = roll_back(ledger, step - 1, cut_metrics=())
            assert found.begun >= 2 * (step - 1)
            for visit in (2 * step - 2, 2 * step - 1):
                if ledger.restored(visit, task(visit)) is None:
                    ledger.issue(visit, task(visit).id, version=step)
                    for attempt in group(visit).attempts:
                        ledger.keep(visit, attempt)
                    ledger.score(group(visit, version=step))
            ledger.book_step(
                BookedStep(step=step, attempts_bytes=step, metrics_bytes=step),
                trained=[2 * step - 2],
                rejected={2 * step - 1: "flat"},
            )
            began.set()


@pytest.mark.timeout(120)
def test_a_killed_writer_leaves_a_ledger_that_is_readable_and_conserved(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.ledger.test_killed_writer"])
    instants = random.Random(3)
    steps = [0]
    for token in range(1, 2 * KILLS, 2):
        began = context.Event()
        process = context.Process(target=write_on, args=(path, token, began))
        process.start()
        if token % 4 == 1:  # the others are killed while they start
            assert began.wait(60)
        process.join(timeout=instants.uniform(0.0, 0.1))
        assert process.exitcode is None, "it never ends by itself"
        process.kill()
        process.join()
        with closing(Ledger.open(path, fence=Token(token + 1))) as ledger:  # compares rows and counts
            tally = ledger.tally()
            steps.append(tally.counts[State.TRAINED])
            assert tally.counts[State.TRAINED] == tally.counts[State.REJECTED], "a step is booked whole or not at all"
            assert tally.counts[State.RUNNING] <= 1
            for pending in ledger.pending():
                restored = ledger.restored(pending.visit, task(pending.visit))
                version = pending.visit // 2 + 1
                assert restored in (None, group(pending.visit, version=version))
    assert steps == sorted(steps), "what was booked stays booked"
    assert steps[-1] >= KILLS // 2
