"""Causal attention within the segments of one packed row, under the interface that transformers calls.

transformers notices packed sequences only under narrow conditions and otherwise lets them read each other without
a word. So attention is our own function, which refuses to run without the segment boundaries.

Legend: T tokens of the row, S segments, D width of a head.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch's attention functions are only partly typed)

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision

ensure_torchvision()
from transformers import AttentionInterface, AttentionMaskInterface  # noqa: E402 - after the repair of its dependency

ATTENTION = "gen_searcher_segments"
KERNEL_DTYPES = (torch.bfloat16, torch.float16)
"""What the variable-length kernel computes in."""


class VarlenKernel(Protocol):
    """`torch.nn.attention.varlen.varlen_attn`, FlashAttention over segments that lie end to end."""

    def __call__(
        self,
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
        """[T, heads, D] from query [T, heads, D] and key, value [T, key heads, D]."""
        ...


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, None]:
    """Causal attention within each segment of one packed row; no mask of T x T is ever built.

    On a GPU, in half precision: one FlashAttention kernel for all segments. Elsewhere: segment by segment.

    Args:
        module: The attention layer; not used.
        query: [1, heads, T, D]
        key: [1, key heads, T, D]
        value: [1, key heads, T, D]
        attention_mask: Must be None: the boundaries say everything.
        cu_seq_lens_q: [S + 1] starts of the segments, and T.
        max_length_q: Tokens of the longest segment.
        scaling: Factor on the scores before the softmax.
        dropout: On the attention weights; must be 0.
        _: What other implementations need.
    """
    if attention_mask is not None or dropout:
        raise ValueError("packed rows are kept apart by their boundaries: no mask is read and nothing is dropped")
    if query.is_cuda and query.dtype in KERNEL_DTYPES:
        from torch.nn.attention.varlen import varlen_attn

        kernel = cast("VarlenKernel", varlen_attn)
        return by_kernel(kernel, query, key, value, cu_seq_lens_q, max_length_q, scaling=scaling), None
    return by_segment(query, key, value, cu_seq_lens_q, scaling=scaling), None


def by_segment(query: Tensor, key: Tensor, value: Tensor, boundaries: Tensor, *, scaling: float | None) -> Tensor:
    """One call of PyTorch's attention for each segment, [1, T, heads, D]."""
    if int(boundaries[-1]) != query.shape[2]:
        raise ValueError(f"segments end at {int(boundaries[-1])}, the row at {query.shape[2]}")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    lengths = boundaries.diff().tolist()
    parts = [
        nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling)
        for q, k, v in zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous()


def by_kernel(
    kernel: VarlenKernel,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    boundaries: Tensor,
    longest: int,
    *,
    scaling: float | None,
) -> Tensor:
    """One call of a variable-length kernel for all segments, [1, T, heads, D]."""
    # [1, heads, T, D] -> [T, heads, D], as the kernel wants its tokens
    mixed = kernel(
        query[0].transpose(0, 1).contiguous(),
        key[0].transpose(0, 1).contiguous(),
        value[0].transpose(0, 1).contiguous(),
        boundaries,
        boundaries,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal: all that came before, nothing that comes after
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return mixed[None]


def _no_mask(*_: object, **__: object) -> None:
    """The mask that our attention needs."""


AttentionInterface.register(ATTENTION, segment_attention)
AttentionMaskInterface.register(ATTENTION, _no_mask)
