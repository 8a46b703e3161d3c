"""Learner ranks on a real Ray: what each rank says of its rows comes back under the right sample."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.learners import LearnerRanks
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.weights import WeightBoard
from gen_searcher.errors import EXIT_INTERRUPTED, LearnerGone
from gen_searcher.grpo.pack import Row, pack
from gen_searcher.types import Sample

pytestmark = pytest.mark.usefixtures("local_ray")


class Rank:
    """Finds every trained token as likely as its id says; writes files, or dies, or takes too long."""

    def __init__(self, says: str = "") -> None:
        self.says = says

    async def ready(self) -> bool:
        return True

    async def save(self, folder: str) -> None:
        if self.says == "dies":
            os._exit(1)
        if self.says == "hangs":
            await asyncio.Event().wait()
        await asyncio.to_thread(Path(folder).touch)

    async def export(self, path: str) -> None:
        await self.save(path)

    async def meeting(self, world: int) -> str:
        return f"a room for {world}"

    async def setup(self, rank: int, world: int, meeting: str, device: str) -> bool:
        if self.says == "tells":
            await asyncio.to_thread(Path(device).write_text, f"{rank} of {world} in {meeting}")
        elif self.says:
            await self.save(device)
        return True

    async def logprobs(self, rows: tuple[Row, ...]) -> list[tuple[float, ...]]:
        return [
            tuple(-0.5 * token for token, trained in zip(each.token_ids, each.loss_mask, strict=True) if trained)
            for row in rows
            for each in row
        ]


def sample(number: int) -> Sample:
    """`number` + 1 tokens, all but the first trained."""
    ids = tuple(100 * number + place for place in range(number + 1))
    mask = (False, *(True,) * number)
    return Sample(token_ids=ids, loss_mask=mask, logprobs=(0.0,) * len(ids), images=(), advantage=1.0)


@pytest.mark.parametrize("count", [1, 3])
async def test_scores_come_back_under_their_samples_however_rows_are_shared(count: int, tmp_path: Path) -> None:
    handles = [cast("ActorHandle", ray.remote(num_cpus=0.01)(Rank).remote()) for _ in range(count)]
    pool = Pool("learner", handles, stage="learn", wraps_plugs=False)
    learner = LearnerRanks(pool, board=WeightBoard(tmp_path), rollouts=None)
    samples = [sample(number) for number in (1, 2, 3, 5, 7, 2)]
    scored = await learner.logprobs(pack(samples, row_tokens=10))
    assert scored == {each: tuple(-0.5 * token for token in each.token_ids[1:]) for each in samples}


def ranks(*says: str) -> Pool:
    handles = [cast("ActorHandle", ray.remote(num_cpus=0.01)(Rank).remote(each)) for each in says]
    return Pool("learner", handles, stage="learn", wraps_plugs=False)


@pytest.mark.fault(3)
async def test_a_dead_rank_ends_the_run_with_the_code_that_says_run_me_again(tmp_path: Path) -> None:
    learner = LearnerRanks(ranks("lives", "dies"), board=WeightBoard(tmp_path), rollouts=None)
    with pytest.raises(LearnerGone, match=r"learner actor 1 is gone.*run the same command again") as caught:
        await learner.save(tmp_path / "checkpoint")
    assert caught.value.exit_code == EXIT_INTERRUPTED


@pytest.mark.fault(3)
async def test_a_learner_that_has_lost_a_rank_neither_publishes_nor_saves_a_part(tmp_path: Path) -> None:
    learner = LearnerRanks(ranks("dies"), board=WeightBoard(tmp_path), rollouts=None)
    for _ in range(2):  # the second time the pool knows that it is dead
        with pytest.raises(LearnerGone):
            await learner.publish(7)
    assert learner_board(tmp_path) == []


async def test_a_hung_learner_is_given_up_after_its_time(tmp_path: Path) -> None:
    learner = LearnerRanks(ranks("hangs"), board=WeightBoard(tmp_path), rollouts=None, timeout_s=1.0)
    with pytest.raises(LearnerGone, match="save: no answer from the learner within 1 s"):
        await learner.save(tmp_path / "checkpoint")


async def test_ranks_that_join_learn_who_they_are_and_where_the_others_wait(tmp_path: Path) -> None:
    learner = LearnerRanks(ranks("", "tells"), board=WeightBoard(tmp_path), rollouts=None)
    await learner.join(device=str(tmp_path / "told"))
    assert (tmp_path / "told").read_text() == "1 of 2 in a room for 2"


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    ("says", "said"),
    [
        ("dies", "learner actor 1 is gone"),
        pytest.param("hangs", "no answer .* within 5 s", marks=pytest.mark.slow),
    ],
)
async def test_a_rank_that_dies_or_hangs_before_it_has_joined_ends_the_command_with_the_same_code(
    tmp_path: Path, says: str, said: str
) -> None:
    pool = ranks("", says)
    await pool.wait_ready()  # a process may take longer to begin than this learner has for a call
    learner = LearnerRanks(pool, board=WeightBoard(tmp_path), rollouts=None, timeout_s=5.0)
    with pytest.raises(LearnerGone, match=rf"^setup: {said}.*run the same command again") as caught:
        await learner.join(device="cpu")
    assert caught.value.exit_code == EXIT_INTERRUPTED


def learner_board(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
