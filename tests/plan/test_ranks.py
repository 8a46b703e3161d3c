"""The fullest rank of the twin is the fullest one of the learner."""

from __future__ import annotations

import random

import pytest

from gen_searcher.grpo.pack import split_rows
from gen_searcher.plan.ranks import longest_share
from gen_searcher.types import Batch, Sample


def sample(tokens: int) -> Sample:
    ones = (True,) * tokens
    return Sample(token_ids=(1,) * tokens, loss_mask=ones, logprobs=(0.0,) * tokens, images=(), advantage=1.0)


@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
def test_the_fullest_rank_is_that_of_the_learner_when_rows_hold_one_sample(ranks: int) -> None:
    rng = random.Random(ranks)
    lengths = [rng.randrange(1, 200) for _ in range(21)]
    batch = Batch(rows=tuple((sample(length),) for length in lengths), trained_tokens=1, samples=21)
    real = max(sum(len(one.token_ids) for row in own for one in row) for own in split_rows(batch, ranks))
    assert longest_share([float(length) for length in lengths], ranks) == real


def test_no_number_of_ranks_learns_faster_than_the_longest_sample() -> None:
    assert longest_share([3.0] * 8, 64) == 3.0
    assert longest_share([3.0] * 8, 5) == 6.0, "some rank has two of them"
    assert longest_share([], 4) == 0.0
