"""Hidden states -> log-probabilities of given tokens, without ever holding [N, V] logits.

Legend: N trained tokens, H hidden size, V vocabulary.
"""
# pyright: reportIncompatibleMethodOverride=false, reportUnknownMemberType=false
# (torch.autograd.Function is declared with *args: its subclasses cannot be typed otherwise)

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK_TOKENS = 256
"""Tokens whose logits exist at a time: 150 MB in float32 at a vocabulary of 150 000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScores:
    """What the model thinks of the trained tokens."""

    logprobs: Tensor
    """[N] natural log, at least float32."""
    entropies: Tensor
    """[N] nats of the distribution that the token was drawn from; no gradient."""


def token_scores(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    banned: Tensor | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> TokenScores:
    """`log softmax(hidden weight^T / temperature)` at the targets, with the banned tokens left out of the softmax.

    Args:
        hidden: [N, H] outputs that predict the targets.
        weight: [V, H] output embedding.
        targets: [N]
        temperature: Of the sampler: a ratio is only a ratio between like distributions.
        banned: [B] tokens that the sampler may never emit; None for none.
        chunk_tokens: Tokens whose logits exist at a time.
    """
    if banned is not None and bool(torch.isin(targets, banned).any()):
        raise ValueError("a trained token is banned: its log-probability is minus infinity")
    logprobs, entropies = cast(
        "tuple[Tensor, Tensor]",
        _ChunkedLogSoftmax.apply(hidden, weight, targets, temperature, banned, chunk_tokens),
    )
    return TokenScores(logprobs=logprobs, entropies=entropies)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    """Product with float32 accumulation *and* result: a bfloat16 logit near 12 is off by up to 0.03 nats."""
    if left.is_cuda and left.dtype == right.dtype == torch.bfloat16:
        return torch.mm(left, right, out_dtype=torch.float32)
    wide = _wide(left.dtype)
    return left.to(wide) @ right.to(wide)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """`total += left @ right`, where it can be without a second tensor of that size: it is as large as the vocabulary."""
    if left.is_cuda:
        total += _matmul(left, right)
    else:
        total.addmm_(left.to(total.dtype), right.to(total.dtype))


def _logits(hidden: Tensor, weight: Tensor, temperature: float, banned: Tensor | None) -> Tensor:
    logits = _matmul(hidden, weight.t())
    if temperature != 1.0:
        logits /= temperature
    if banned is not None:
        logits[:, banned] = -torch.inf
    return logits


class _ChunkedLogSoftmax(torch.autograd.Function):
    """Recomputes the logits chunk by chunk in the backward pass."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        temperature: float,
        banned: Tensor | None,
        chunk_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        wide_weight = weight if weight.is_cuda else weight.to(_wide(weight.dtype))
        logprobs = torch.empty(len(targets), dtype=_wide(hidden.dtype), device=hidden.device)
        normalisers, entropies = torch.empty_like(logprobs), torch.empty_like(logprobs)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = _logits(hidden[part], wide_weight, temperature, banned)
            normaliser = logits.logsumexp(dim=-1)
            normalisers[part] = normaliser
            logprobs[part] = logits.gather(1, targets[part, None])[:, 0] - normaliser
            chances = (logits - normaliser[:, None]).exp_()
            if banned is not None:
                logits[:, banned] = 0.0  # their chance is zero; zero times minus infinity is not a number
            entropies[part] = normaliser - chances.mul_(logits).sum(dim=-1)
        ctx.save_for_backward(hidden, weight, targets, normalisers)
        ctx.settings = (temperature, banned, chunk_tokens)  # pyright: ignore[reportAttributeAccessIssue]
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor, _entropies: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, normalisers = cast(
            "tuple[Tensor, Tensor, Tensor, Tensor]",
            ctx.saved_tensors,  # pyright: ignore[reportAttributeAccessIssue]
        )
        temperature, banned, chunk_tokens = cast(
            "tuple[float, Tensor | None, int]",
            ctx.settings,  # pyright: ignore[reportAttributeAccessIssue]
        )
        wide_weight = weight if weight.is_cuda else weight.to(_wide(weight.dtype))
        grad_hidden = torch.zeros_like(hidden)
        trains_weight = cast("bool", ctx.needs_input_grad[1])  # pyright: ignore[reportAttributeAccessIssue]
        grad_weight = torch.zeros_like(weight, dtype=_wide(weight.dtype)) if trains_weight else None
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = _logits(hidden[part], wide_weight, temperature, banned)
            grad_logits = logits.sub_(normalisers[part, None]).exp_().neg_()
            rows = torch.arange(len(grad_logits), device=grad_logits.device)
            grad_logits[rows, targets[part]] += 1.0
            grad_logits *= (upstream[part] / temperature)[:, None]
            if weight.is_cuda:
                grad_logits = grad_logits.to(weight.dtype)
            grad_hidden[part] = _matmul(grad_logits, wide_weight).to(hidden.dtype)
            if grad_weight is not None:
                _add_product(grad_weight, grad_logits.t(), hidden[part])
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None, None, None, None
