from __future__ import annotations

import dataclasses

import pytest

from gen_searcher.grpo.advantage import group_advantages
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples, trajectory_sample
from tests.grpo.groups import VIEW, group, trajectory


def test_a_trajectory_becomes_one_sequence_trained_where_the_policy_wrote():
    sample = trajectory_sample(trajectory(), 0.75)
    assert sample.token_ids == (1, 2, 3, 4, 5, 6, 90, 7, 8, 9)
    assert sample.loss_mask == (False, False, False, True, True, False, False, False, False, True)
    assert sample.logprobs == (0, 0, 0, -0.5, -0.25, 0, 0, 0, 0, -1.5)
    assert sample.versions == (-1, -1, -1, 7, 7, -1, -1, -1, -1, 8)
    assert sample.log_kept == (0,) * 10
    assert sample.images == (VIEW,)
    assert sample.trained_tokens == 3
    assert sample.advantage == 0.75


def test_a_turn_whose_arrays_differ_in_length_is_refused():
    turn = dataclasses.replace(trajectory().turns[0], logprobs=(-0.5,))
    with pytest.raises(ValueError, match="2 sampled tokens has 1 log-probabilities"):
        trajectory_sample(dataclasses.replace(trajectory(), turns=(turn,)), 1.0)


def test_the_kept_mass_of_each_turn_stays_with_its_tokens():
    first, second = trajectory().turns
    first = dataclasses.replace(first, log_kept=(-0.125, -0.0625))
    sample = trajectory_sample(dataclasses.replace(trajectory(), turns=(first, second)), 1.0)
    assert sample.log_kept == (0, 0, 0, -0.125, -0.0625, 0, 0, 0, 0, 0)
    short = dataclasses.replace(first, log_kept=(-0.125,))
    with pytest.raises(ValueError, match="2 versions and 1 kept masses"):
        trajectory_sample(dataclasses.replace(trajectory(), turns=(short,)), 1.0)
    with pytest.raises(ValueError, match=r"differ in length: \[9, 10\]"):
        dataclasses.replace(sample, log_kept=(0.0,) * 9)


def test_lost_attempts_change_no_bit_of_the_batch():
    with_lost, without = group(1.0, 0.0, 0.5, lost=2), group(1.0, 0.0, 0.5)
    batches = [pack(group_samples(g, group_advantages(g.rewards)), row_tokens=20) for g in (with_lost, without)]
    assert batches[0] == batches[1]
    assert batches[0].samples == 3
    assert batches[0].trained_tokens == 9


def test_one_advantage_for_each_attempt():
    with pytest.raises(ValueError, match="zip"):
        group_samples(group(1.0, 0.0), (1.0,))
