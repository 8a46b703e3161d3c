from __future__ import annotations

import pytest
import torch

from gen_searcher.config.objective import Aggregation
from gen_searcher.grpo.objectives.aggregate import loss_denominator, row_share

LOSSES = torch.tensor([1.0, 2.0, 6.0, 4.0, 5.0, 9.0])
SEGMENTS = torch.tensor([0, 0, 0, 1, 2, 2])


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("seq-mean-token-sum", (9 + 4 + 14) / 3),
        ("seq-mean-token-mean", (3 + 4 + 7) / 3),
        ("token-mean", 27 / 6),
        ("token-sum-norm", 27 / (3 * 50)),
    ],
)
def test_three_sequences_of_three_one_and_two_tokens(aggregation: Aggregation, expected: float):
    denominator = loss_denominator(aggregation, trained_tokens=6, samples=3, max_response_tokens=50)
    share = row_share(LOSSES, SEGMENTS, aggregation=aggregation, denominator=denominator)
    assert float(share) == pytest.approx(expected)


def test_a_step_with_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="0 trained tokens of 3 samples"):
        loss_denominator("token-mean", trained_tokens=0, samples=3)


def test_a_constant_that_nobody_gave_is_asked_for():
    with pytest.raises(ValueError, match="give max_response_tokens"):
        loss_denominator("token-sum-norm", trained_tokens=6, samples=3)


def test_an_average_over_sequences_without_their_boundaries_is_refused():
    with pytest.raises(ValueError, match="give PolicyTokens its segments"):
        row_share(LOSSES, None, aggregation="seq-mean-token-mean", denominator=3)
