"""At the end of a command the workers send their spans, and none of them can hold the command up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from gen_searcher.cluster import fleet as fleet_module
from gen_searcher.cluster.fleet import Fleet
from gen_searcher.cluster.pool import Pool
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.limits import LimitsConfig
from gen_searcher.errors import ActorGone
from gen_searcher.train.run import RunFolder


class Workers:
    """A pool of three, of which some are dead and some never answer."""

    healthy = (0, 1, 4)

    def __init__(self, *, dead: int | None = None, hung: int | None = None) -> None:
        self.asked: list[tuple[int, str]] = []
        self._dead = dead
        self._hung = hung

    async def call_on(self, index: int, method: str) -> object:
        self.asked.append((index, method))
        if index == self._dead:
            raise ActorGone("tool actor 1 is gone")
        if index == self._hung:
            await asyncio.Event().wait()
        return True


def fleet(folder: Path, *pools: Workers) -> Fleet:
    made = Fleet(
        cluster=ClusterConfig(), folder=RunFolder(root=folder), limits=LimitsConfig(), cassette=CassetteConfig()
    )
    made.traced.extend(cast("Pool", pool) for pool in pools)
    return made


async def test_every_worker_in_use_is_asked_and_a_dead_one_is_only_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    well, other = Workers(), Workers(dead=1)
    await fleet(tmp_path, well, other).flush_traces()
    assert well.asked == other.asked == [(index, "flush_trace") for index in (0, 1, 4)]
    assert [record.getMessage() for record in caplog.records] == [
        "traces: the last spans of a worker are missing: actor: tool actor 1 is gone"
    ]


async def test_a_worker_that_never_answers_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "FLUSH_S", 0.01)
    monkeypatch.setattr(fleet_module, "ANSWER_S", 0.01)
    hung = Workers(hung=4)
    await fleet(tmp_path, hung).flush_traces()
    assert len(hung.asked) == 3
    assert "some workers did not answer" in caplog.text
