"""Fresh weights that can already copy: a planted induction circuit.

A transformer learns to copy by forming induction heads (Olsson et al. 2022, https://arxiv.org/abs/2209.11895), and a
tiny one spends its whole budget on finding them. A pretrained model brings them along; the small policy gets them
written into its fresh weights, random otherwise:

    layer 0, head 0: bring the content of the token one back      -> subspace B of the residual stream
    layer 0, head 1: bring the content of the token two back      -> subspace C
    layer 1, head 0: look where the last two tokens stood before (query A, B; key B, C), bring what came next -> A

Embeddings are random unit vectors in subspace A and tied to the output, so what layer 1 brings raises that token's
logit, whatever token it is: copying works for names that no training text holds. Nothing is frozen.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (transformers' modules are only partly typed)

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration

CONSTANT = 0.3
"""Every embedding's part along the last axis: what the look-back heads make their fixed queries and keys from."""
RANDOM_SHARE = 0.2
"""What is left of the random output projections: at full size their noise would drown the planted content."""
LOOK_BACK_NORM = 2.0
"""Query and key norm weights of layer 0: large enough that the look-back heads see one token."""
MATCH_NORM = 1.5
"""Query and key norm weights of layer 1: two tokens must match, one is not enough."""
COPY_GAIN = 2.0
"""Weight of what layer 1 brings against the token's own content."""
LOOK_BACK_ENERGY = (0.5, 0.3, 0.2)
"""Of the three fastest rotary pairs: together they peak at one distance only."""
CONTEXT_TOKENS = 700
"""Rotary pairs that turn by less than one radian over this distance carry the match."""


class _Weighted(Protocol):
    weight: Tensor


class _Attention(Protocol):
    """What we write of transformers' attention layer, which is not typed."""

    q_proj: _Weighted
    k_proj: _Weighted
    v_proj: _Weighted
    o_proj: _Weighted
    q_norm: _Weighted
    k_norm: _Weighted


class _Mlp(Protocol):
    down_proj: _Weighted


class _TextConfig(Protocol):
    """What we read of the language model's configuration."""

    hidden_size: int
    head_dim: int
    num_attention_heads: int
    tie_word_embeddings: bool
    rope_parameters: Mapping[str, float]


class _Layer(Protocol):
    self_attn: _Attention
    mlp: _Mlp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    content: int
    """Width of each of the subspaces A, B, C."""
    head_dim: int
    rotary_radians: Tensor
    """[head_dim / 2] turn per position of each rotary pair."""

    def axes(self, subspace: int) -> range:
        """Residual axes of subspace 0 (A), 1 (B) or 2 (C)."""
        return range(subspace * self.content, (subspace + 1) * self.content)


def plant_copying(model: Qwen3VLForConditionalGeneration, *, seed: int) -> None:
    """Write the circuit into a fresh model with tied embeddings, at least 2 layers and 2 heads.

    Raises:
        ValueError: The model is too small or its embeddings are not tied.
    """
    config = cast("_TextConfig", model.config.text_config)
    hidden, head_dim = config.hidden_size, config.head_dim
    layers = [cast("_Layer", layer) for layer in model.model.language_model.layers]
    if not config.tie_word_embeddings or len(layers) < 2 or config.num_attention_heads < 2:
        raise ValueError("copying needs tied embeddings, two layers and two heads")
    theta = config.rope_parameters["rope_theta"]
    half = head_dim // 2
    plan = _Plan(
        content=min((hidden - 2) // 3, head_dim),
        head_dim=head_dim,
        rotary_radians=torch.tensor([theta ** (-index / half) for index in range(half)]),
    )
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            layer.self_attn.o_proj.weight.mul_(RANDOM_SHARE)
            layer.mlp.down_proj.weight.mul_(RANDOM_SHARE)
        _write_embeddings(model.model.language_model.embed_tokens.weight, plan, random)
        _write_look_back(layers[0].self_attn, plan, scale=math.sqrt(hidden) / math.hypot(1.0, CONSTANT))
        _write_match(layers[1].self_attn, plan, random, scale=math.sqrt(hidden / (3.0 + CONSTANT**2)))


def _write_embeddings(weight: Tensor, plan: _Plan, random: torch.Generator) -> None:
    content = torch.randn(weight.shape[0], plan.content, generator=random)
    weight.zero_()
    weight[:, : plan.content] = content / content.norm(dim=1, keepdim=True)
    weight[:, -1] = CONSTANT


def _write_look_back(attention: _Attention, plan: _Plan, *, scale: float) -> None:
    """Heads 0 and 1 see the token one and two back. `scale` is what the layer norm makes of a unit vector."""
    half = plan.head_dim // 2
    for head, back in ((0, 1), (1, 2)):
        start = _clear_head(attention, head, plan.head_dim)
        for pair, energy in enumerate(LOOK_BACK_ENERGY):
            size, turn = math.sqrt(energy), float(plan.rotary_radians[pair]) * back
            attention.k_proj.weight[start + pair, -1] = size
            attention.q_proj.weight[start + pair, -1] = size * math.cos(turn)
            attention.q_proj.weight[start + pair + half, -1] = -size * math.sin(turn)
        for index, (source, target) in enumerate(zip(plan.axes(0), plan.axes(back), strict=True)):
            attention.v_proj.weight[start + index, source] = math.sqrt(1.0 / scale)
            attention.o_proj.weight[target, start + index] = math.sqrt(1.0 / scale)
    attention.q_norm.weight.fill_(LOOK_BACK_NORM)
    attention.k_norm.weight.fill_(LOOK_BACK_NORM)


def _write_match(attention: _Attention, plan: _Plan, random: torch.Generator, *, scale: float) -> None:
    """Head 0: my token and the one before, against your one back and two back; brings your content."""
    half = plan.head_dim // 2
    start = _clear_head(attention, 0, plan.head_dim)
    slow = [pair for pair in range(half) if float(plan.rotary_radians[pair]) * CONTEXT_TOKENS < 1.0]
    rows = [*slow, *(pair + half for pair in slow)]
    share = min(len(rows) // 2, plan.content)
    if share == 0:
        raise ValueError("no rotary pair is slow enough to match over a context: raise rope_theta or head_dim")
    for number, (query, key) in enumerate(((0, 1), (1, 2))):
        mix = torch.linalg.qr(torch.randn(plan.content, plan.content, generator=random))[0][:share]
        own = [start + row for row in rows[number * (len(rows) // 2) :][:share]]
        attention.q_proj.weight[own, plan.axes(query).start : plan.axes(query).stop] = mix
        attention.k_proj.weight[own, plan.axes(key).start : plan.axes(key).stop] = mix
    for index, axis in enumerate(plan.axes(0)):
        attention.v_proj.weight[start + index, axis] = math.sqrt(COPY_GAIN / scale)
        attention.o_proj.weight[axis, start + index] = math.sqrt(COPY_GAIN / scale)
    attention.q_norm.weight.fill_(MATCH_NORM)
    attention.k_norm.weight.fill_(MATCH_NORM)


def _clear_head(attention: _Attention, head: int, head_dim: int) -> int:
    start = head * head_dim
    own = slice(start, start + head_dim)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        projection.weight[own] = 0.0
    attention.o_proj.weight[:, own] = 0.0
    return start
