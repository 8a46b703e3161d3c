from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.grpo.pack import pack, sample_tokens, split_rows
from gen_searcher.types import ImageRef, Sample

VIEW = ImageRef(sha256="b" * 64, width_px=96, height_px=64)


def text(tokens: int, *, first: int = 0) -> Sample:
    return Sample(
        token_ids=(first, *range(1, tokens)),
        loss_mask=(False,) + (True,) * (tokens - 1),
        logprobs=(0.0,) * tokens,
        images=(),
        advantage=1.0,
    )


def test_a_picture_counts_with_its_vision_tokens():
    sample = Sample(
        token_ids=(5, 90, 6), loss_mask=(False, False, True), logprobs=(0, 0, -1), images=(VIEW,), advantage=1
    )
    assert sample_tokens(sample) == 3 - 1 + 3 * 2


def test_first_fit_decreasing_fills_rows_longest_first():
    batch = pack([text(n) for n in (3, 7, 5, 2, 3)], row_tokens=10)
    assert [[len(s.token_ids) for s in row] for row in batch.rows] == [[7, 3], [5, 3, 2]]
    assert batch.trained_tokens == 20 - 5
    assert batch.samples == 5


def test_a_sample_longer_than_a_row_is_named_and_nothing_is_cut():
    with pytest.raises(ValueError, match=r"sample 1 \(11 tokens, 0 pictures\) takes 11 tokens and a row holds 10"):
        pack([text(4), text(11)], row_tokens=10)


def test_full_rows_are_halved_before_a_rank_goes_idle():
    batch = pack([text(n) for n in (3, 2, 2)], row_tokens=100)
    assert [len(row) for row in batch.rows] == [3]
    shares = split_rows(batch, 2)
    assert [[[len(s.token_ids) for s in row] for row in share] for share in shares] == [[[2, 2]], [[3]]]


def test_a_single_sample_for_two_ranks_leaves_one_padding_row():
    batch = pack([text(5)], row_tokens=10)
    assert split_rows(batch, 2) == [((text(5),),), ((),)]


@given(st.lists(st.integers(2, 40), min_size=1, max_size=30), st.integers(1, 4), st.integers(0, 99))
def test_every_sample_is_in_exactly_one_row_of_one_rank(lengths: list[int], ranks: int, seed: int):
    samples = [text(length, first=number) for number, length in enumerate(lengths)]
    random.Random(seed).shuffle(samples)
    batch = pack(samples, row_tokens=40)
    shares = split_rows(batch, ranks)
    assert Counter(s for share in shares for row in share for s in row) == Counter(samples)
    assert len({len(share) for share in shares}) == 1
    assert all(sum(sample_tokens(s) for s in row) <= 40 for row in batch.rows)
    assert pack(samples, row_tokens=40) == batch


def test_ranks_get_about_equally_many_tokens():
    rng = random.Random(0)
    batch = pack([text(rng.randrange(20, 200)) for _ in range(60)], row_tokens=256)
    loads = [sum(sample_tokens(s) for row in share for s in row) for share in split_rows(batch, 2)]
    assert abs(loads[0] - loads[1]) < 0.05 * sum(loads)
