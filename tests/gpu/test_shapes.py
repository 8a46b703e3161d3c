"""What the GPU tests are built from, checked on a CPU at small scale."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gen_searcher.engines.qwen_forward import PackedPolicy
from tests.gpu.shapes import SMALL, Shape, language_flops, packed_samples, random_policy, row_of

PICTURE_TOKENS = 144


def test_the_large_shape_has_the_weights_of_qwen3_vl_8b():
    assert Shape().matmul_weights == pytest.approx(6.95e9, rel=0.01)
    with torch.device("meta"):
        weights = sum(p.numel() for p in random_policy(Shape(), device="meta", dtype=torch.bfloat16).parameters())
    assert weights == pytest.approx(8.77e9, rel=0.01)


@pytest.mark.parametrize("row_tokens", [2048, 8192])
def test_a_row_is_filled_to_the_last_token_and_shows_its_pictures(row_tokens: int):
    row = row_of(packed_samples(row_tokens, shape=SMALL, pictures=3), shape=SMALL)
    assert len(row.input_ids) == row_tokens
    assert len(row.cu_seqlens) > 2
    assert int((row.input_ids == SMALL.image_token).sum()) == 3 * PICTURE_TOKENS * (len(row.cu_seqlens) - 1)
    assert len(row.grids) == 3 * (len(row.cu_seqlens) - 1)


def test_the_small_policy_learns_from_such_a_row():
    policy = PackedPolicy(random_policy(SMALL, device="cpu", dtype=torch.float32), banned_ids=(), chunk_tokens=64)
    row = row_of(packed_samples(1024, shape=SMALL, pictures=1), shape=SMALL)
    logprobs, _ = policy(row, 1.0)
    logprobs.sum().backward()
    assert logprobs.shape == row.targets.shape
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_counted_operations_are_those_that_pytorch_counts():
    shape = replace(SMALL, layers=4)
    policy = PackedPolicy(random_policy(shape, device="cpu", dtype=torch.float32), banned_ids=(), chunk_tokens=10_000)
    lengths = [257, 129]
    ids = torch.randint(0, 100, (1, sum(lengths)))
    boundaries = torch.tensor([0, 257, 386], dtype=torch.int32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hidden = policy.model.model.language_model(
            input_ids=ids,
            position_ids=torch.arange(386).expand(3, 1, -1),
            use_cache=False,
            cu_seq_lens_q=boundaries,
            max_length_q=257,
        ).last_hidden_state
        torch.mm(hidden[0, :100], policy.model.lm_head.weight.t())
    counted = counter.get_total_flops()
    causal = 4 * shape.layers * shape.heads * shape.head_dim * sum(n * n for n in lengths) // 2
    # PyTorch does not count the attention kernel of its CPU
    assert counted == pytest.approx(language_flops(shape, lengths, trained_tokens=100, passes=1) - causal, rel=0.01)
