"""Packed samples must not read each other: every way in which they would, shown to leak and shown to be caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gen_searcher.engines.qwen_forward import PackedPolicy, Qwen3VLForConditionalGeneration, load_qwen
from gen_searcher.engines.segments import by_kernel, by_segment, segment_attention
from gen_searcher.grpo.tensors import RowTensors, image_patches, row_tensors
from gen_searcher.image_store import ImageStore
from tests.engines.learner_setup import IMAGE_TOKEN, mixed_samples, save_tiny

Model = Qwen3VLForConditionalGeneration
Leak = Callable[[Model, RowTensors], Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[RowTensors]:
    """The packed row of five samples, then each sample as a row of its own."""
    store = ImageStore(tmp_path_factory.mktemp("images"))
    samples = mixed_samples(store)
    return [
        row_tensors(part, image_token_id=IMAGE_TOKEN, pixels=lambda ref: image_patches(store.get(ref)))
        for part in (tuple(samples), *((sample,) for sample in samples))
    ]


@pytest.fixture(scope="module")
def ours(folder: Path) -> Model:
    model = load_qwen(folder, dtype=torch.float32)
    assert isinstance(model, Model)
    return model.eval()


@pytest.fixture(scope="module")
def stock(folder: Path) -> Model:
    return Model.from_pretrained(folder, attn_implementation="sdpa").eval()


def features(model: Model, row: RowTensors) -> dict[str, object]:
    """Pictures repeated for each placeholder, so that all calls below are given the same."""
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), row.grids.prod(-1).cumsum(0)])
    patches = [row.patches[starts[index] : starts[index + 1]] for index in row.picture_of_I]
    return {"pixel_values": torch.cat(patches), "image_grid_thw": row.grids[list(row.picture_of_I)]}


def four_rows(row: RowTensors) -> Tensor:
    """What transformers looks at to notice packing: plain positions that start over, before the three of mRoPE."""
    plain = torch.cat([torch.arange(int(length)) for length in row.cu_seqlens.diff()])
    return torch.cat([plain[None], row.positions])[:, None]


def call(model: Model, row: RowTensors, **arguments: object) -> Tensor:
    logits = model(input_ids=row.input_ids[None], **features(model, row), **arguments).logits[0]
    return logits.log_softmax(-1)[row.predictors, row.targets]


LEAKS: dict[str, Leak] = {
    "the default of use_cache": lambda m, r: call(m, r, position_ids=four_rows(r)),
    "three rows of positions": lambda m, r: call(m, r, position_ids=r.positions[:, None], use_cache=False),
    "a mask of ones": lambda m, r: call(
        m, r, position_ids=four_rows(r), use_cache=False, attention_mask=torch.ones_like(r.input_ids[None])
    ),
    "boundaries that the attention ignores": lambda m, r: call(
        m, r, position_ids=r.positions[:, None], use_cache=False, cu_seq_lens_q=r.cu_seqlens, cu_seq_lens_k=r.cu_seqlens
    ),
}


def truth(model: Model, rows: list[RowTensors]) -> Tensor:
    """Each sample alone. A row without pictures ends in a blank one, which nothing before it sees."""
    policy = PackedPolicy(model, banned_ids=(), chunk_tokens=64)
    return torch.cat([policy(row, 1.0)[0] for row in rows[1:]])


@pytest.mark.parametrize("leak", LEAKS)
@torch.no_grad()
def test_a_call_that_leaks_in_transformers_is_exact_or_refused_by_our_attention(
    leak: str, stock: Model, ours: Model, rows: list[RowTensors]
):
    expected = truth(ours, rows)
    assert (LEAKS[leak](stock, rows[0]) - expected).abs().max() > 0.05
    with pytest.raises(TypeError, match="cu_seq_lens_q" if "boundaries" not in leak else "max_length_q"):
        LEAKS[leak](ours, rows[0])


@torch.no_grad()
def test_with_boundaries_neither_cache_nor_mask_nor_positions_can_leak(ours: Model, rows: list[RowTensors]):
    row, expected = rows[0], truth(ours, rows)
    boundaries = {"cu_seq_lens_q": row.cu_seqlens, "cu_seq_lens_k": row.cu_seqlens, "max_length_q": row.longest}
    for arguments in (
        {"position_ids": four_rows(row)},
        {"position_ids": row.positions[:, None], "use_cache": False},
        {"position_ids": four_rows(row), "attention_mask": torch.ones_like(row.input_ids[None])},
    ):
        assert (call(ours, row, **arguments, **boundaries) - expected).abs().max() < 1e-5


@torch.no_grad()
def test_dropping_the_boundaries_between_samples_would_not_go_unnoticed(ours: Model, rows: list[RowTensors]):
    row, expected = rows[0], truth(ours, rows)
    policy = PackedPolicy(ours, banned_ids=(), chunk_tokens=64)
    assert (policy(row, 1.0)[0] - expected).abs().max() < 1e-5
    length = len(row.input_ids)
    for boundaries in ([0, length], [0, *row.cu_seqlens.tolist()[2:]]):
        leaky = replace(row, cu_seqlens=torch.tensor(boundaries, dtype=torch.int32), longest=length)
        assert (policy(leaky, 1.0)[0] - expected).abs().max() > 0.05


def states(*, heads: int, tokens: int) -> Tensor:
    return torch.randn(1, heads, tokens, 16, generator=torch.Generator().manual_seed(heads), dtype=torch.float64)


def dense_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:
    """What the GPU's kernel promises, by a mask of T x T."""
    assert window_size == (-1, 0)
    assert max_q == max_k == int(cu_seq_q.diff().max())
    assert query.is_contiguous()
    assert key.is_contiguous()
    assert torch.equal(cu_seq_q, cu_seq_k)
    segment = torch.repeat_interleave(torch.arange(len(cu_seq_q) - 1), cu_seq_q.diff())
    allowed = (segment[:, None] == segment[None]) & torch.ones(len(segment), len(segment), dtype=torch.bool).tril()
    mixed = torch.nn.functional.scaled_dot_product_attention(
        query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1),
        attn_mask=allowed, scale=scale, enable_gqa=enable_gqa,
    )  # fmt: skip
    return mixed.transpose(0, 1)


@pytest.mark.parametrize("key_heads", [4, 2])
def test_the_path_of_the_gpu_kernel_gives_values_and_gradients_of_the_segment_path(key_heads: int):
    boundaries = torch.tensor([0, 3, 4, 11], dtype=torch.int32)
    inputs = [states(heads=4, tokens=11), states(heads=key_heads, tokens=11), states(heads=key_heads, tokens=11) + 1]
    leaves = query, key, value = [tensor.detach().requires_grad_() for tensor in inputs]
    outputs = [
        by_segment(query, key, value, boundaries, scaling=0.3),
        by_kernel(dense_kernel, query, key, value, boundaries, 7, scaling=0.3),
    ]
    assert outputs[0].shape == outputs[1].shape == (1, 11, 4, 16)
    assert (outputs[0] - outputs[1]).abs().max() < 1e-12
    gradients = [torch.autograd.grad(output.square().sum(), leaves) for output in outputs]
    for left, right in zip(*gradients, strict=True):
        assert float(left.abs().max()) > 0.1
        assert (left - right).abs().max() < 1e-11


def test_attention_refuses_boundaries_that_do_not_fit_masks_and_dropout():
    zeros = torch.zeros(1, 2, 5, 4)
    layer = torch.nn.Identity()
    with pytest.raises(ValueError, match="segments end at 4, the row at 5"):
        segment_attention(layer, zeros, zeros, zeros, None, cu_seq_lens_q=torch.tensor([0, 4]), max_length_q=4)
    for mask, dropout in ((torch.ones(1, 1, 5, 5), 0.0), (None, 0.1)):
        with pytest.raises(ValueError, match="no mask is read and nothing is dropped"):
            segment_attention(
                layer, zeros, zeros, zeros, mask, cu_seq_lens_q=torch.tensor([0, 5]), max_length_q=5, dropout=dropout
            )
