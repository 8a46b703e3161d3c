"""Learner ranks on a real Ray: what each rank says of its rows comes back under the right sample."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle

from gen_searcher.cluster.learners import LearnerRanks
from gen_searcher.cluster.pool import Pool
from gen_searcher.cluster.weights import WeightBoard
from gen_searcher.grpo.pack import Row, pack
from gen_searcher.types import Sample

pytestmark = pytest.mark.usefixtures("local_ray")


class Rank:
    """Finds every trained token as likely as its id says."""

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


@pytest.mark.parametrize("ranks", [1, 3])
async def test_scores_come_back_under_their_samples_however_rows_are_shared(ranks: int, tmp_path: Path) -> None:
    handles = [cast("ActorHandle", ray.remote(num_cpus=0.01)(Rank).remote()) for _ in range(ranks)]
    pool = Pool("learner", handles, stage="learn", wraps_plugs=False)
    learner = LearnerRanks(pool, board=WeightBoard(tmp_path), rollouts=None)
    samples = [sample(number) for number in (1, 2, 3, 5, 7, 2)]
    scored = await learner.logprobs(pack(samples, row_tokens=10))
    assert scored == {each: tuple(-0.5 * token for token in each.token_ids[1:]) for each in samples}
