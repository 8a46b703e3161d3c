"""The packed forward pass of Qwen3-VL: RowTensors -> TokenScores, with pixels, without leaks between samples.

transformers notices packed sequences only under narrow conditions and otherwise lets them read each other without
a word. So attention is our own function, which refuses to run without the segment boundaries.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers and torch.nn modules are only partly typed)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import FloatTensor, LongTensor, Tensor, nn

from gen_searcher.engines.vllm_plugin.compat import ensure_torchvision
from gen_searcher.errors import UserError
from gen_searcher.grpo.logprobs import token_scores
from gen_searcher.grpo.tensors import RowTensors

ensure_torchvision()
from transformers import (  # noqa: E402 - after the repair of its dependency
    AttentionInterface,
    AttentionMaskInterface,
    Qwen3VLForConditionalGeneration,
)
from transformers.utils.logging import disable_progress_bar  # noqa: E402

ATTENTION = "gen_searcher_segments"


def segment_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, None]:
    """Causal attention within each segment of one packed row; no mask of T x T is ever built.

    Args:
        module: The attention layer; not used.
        query: [1, heads, T, D]
        key: [1, key heads, T, D]
        value: [1, key heads, T, D]
        attention_mask: Must be None: the boundaries say everything.
        cu_seq_lens_q: [S + 1] starts of the segments, and T.
        scaling: Factor on the scores before the softmax.
        dropout: On the attention weights.
        _: What other implementations need.
    """
    if attention_mask is not None or int(cu_seq_lens_q[-1]) != query.shape[2]:
        raise ValueError(f"segments end at {int(cu_seq_lens_q[-1])}, the row at {query.shape[2]}; no mask is read")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    lengths = cu_seq_lens_q.diff().tolist()
    parts = [
        nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling)
        for q, k, v in zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _no_mask(*_: object, **__: object) -> None:
    """The mask that our attention needs."""


disable_progress_bar()
AttentionInterface.register(ATTENTION, segment_attention)
AttentionMaskInterface.register(ATTENTION, _no_mask)


def load_qwen(
    path: Path, *, dtype: torch.dtype, gradient_checkpointing: bool = False
) -> Qwen3VLForConditionalGeneration:
    """Read a Hugging Face folder of Qwen3-VL for training."""
    if not (path / "config.json").is_file():
        raise UserError(f"{path}: no config.json; a policy is a Hugging Face folder of a Qwen3-VL model")
    model = Qwen3VLForConditionalGeneration.from_pretrained(
        path,
        dtype=dtype,
        attn_implementation={"text_config": ATTENTION, "vision_config": "sdpa"},
        local_files_only=True,
    )
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return model


class _Pictures(Protocol):
    """What the vision tower returns, which transformers does not type."""

    pooler_output: Sequence[Tensor]
    """Of each picture: [tokens, H] for the input of the language model."""
    deepstack_features: list[Sequence[Tensor]]
    """For each of the first layers, of each picture: [tokens, H] to add to that layer's output."""


class PackedPolicy(nn.Module):
    """The module that DeepSpeed wraps: its forward pass ends at log-probabilities, so hidden states never leave it."""

    def __init__(
        self, model: Qwen3VLForConditionalGeneration, *, banned_ids: tuple[int, ...], chunk_tokens: int
    ) -> None:
        """`banned_ids` are the tokens that the sampler may never emit."""
        super().__init__()
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.banned = nn.Buffer(torch.tensor(banned_ids), persistent=False) if banned_ids else None

    def forward(self, row: RowTensors, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each trained token of the row, [N] each."""
        body = self.model.model
        pictures = cast(
            "_Pictures", body.get_image_features(cast("FloatTensor", row.patches), cast("LongTensor", row.grids))
        )
        boundaries = row.cu_seqlens
        hidden = body(
            input_ids=row.input_ids[None],
            position_ids=row.positions[:, None],
            mm_encoder_outputs={"image": _in_order(pictures, row.picture_of_I)},
            use_cache=False,
            cu_seq_lens_q=boundaries,
            cu_seq_lens_k=boundaries,
        ).last_hidden_state[0]
        scores = token_scores(
            hidden[row.predictors],
            self.model.lm_head.weight,
            row.targets,
            temperature=temperature,
            banned=self.banned,
            chunk_tokens=self.chunk_tokens,
        )
        return scores.logprobs, scores.entropies


def _in_order(pictures: _Pictures, picture_of_I: Sequence[int]) -> _Pictures:
    """Features of the distinct pictures, once for each placeholder that shows them."""
    pictures.pooler_output = tuple(pictures.pooler_output[index] for index in picture_of_I)
    pictures.deepstack_features = [
        tuple(level[index] for index in picture_of_I) for level in pictures.deepstack_features
    ]
    return pictures
