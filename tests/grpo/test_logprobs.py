from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gen_searcher.grpo.logprobs import token_scores

N, H, V = 37, 16, 101


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    hidden = torch.randn(N, H, dtype=dtype).requires_grad_()
    weight = torch.randn(V, H, dtype=dtype).requires_grad_()
    return hidden, weight, torch.randint(0, 90, (N,))


def naive(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float, banned: Tensor | None
) -> tuple[Tensor, Tensor]:
    logits = hidden @ weight.T / temperature
    if banned is not None:
        keep = torch.ones(V, dtype=torch.bool)
        keep[banned] = False
        logits = logits.masked_fill(~keep, -torch.inf)
    table = logits.log_softmax(-1)
    chances = table.exp()
    return table[torch.arange(N), targets], -(chances * table.masked_fill(chances == 0, 0)).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("banned", [None, torch.tensor([95, 99])])
@pytest.mark.parametrize("chunk_tokens", [8, 37, 512])
def test_chunked_scores_and_gradients_equal_the_naive_ones(
    temperature: float, banned: Tensor | None, chunk_tokens: int
):
    hidden, weight, targets = inputs()
    upstream = torch.randn(N, dtype=torch.float64)
    expected, entropies = naive(hidden, weight, targets, temperature=temperature, banned=banned)
    wanted = torch.autograd.grad((expected * upstream).sum(), (hidden, weight))
    scores = token_scores(hidden, weight, targets, temperature=temperature, banned=banned, chunk_tokens=chunk_tokens)
    found = torch.autograd.grad((scores.logprobs * upstream).sum(), (hidden, weight))
    assert (scores.logprobs - expected).abs().max() < 1e-12
    assert (scores.entropies - entropies).abs().max() < 1e-12
    for left, right in zip(found, wanted, strict=True):
        assert (left - right).abs().max() < 1e-12


def test_float32_is_within_a_millionth_of_float64():
    hidden, weight, targets = inputs()
    exact = token_scores(hidden, weight, targets).logprobs
    single = token_scores(hidden.float(), weight.float(), targets).logprobs
    assert single.dtype == torch.float32
    assert (single.double() - exact).abs().max() < 5e-6


def test_bfloat16_inputs_give_float32_scores_that_are_exact_for_those_inputs():
    hidden, weight, targets = inputs()
    low_hidden, low_weight = hidden.detach().bfloat16(), weight.detach().bfloat16()
    exact = token_scores(low_hidden.double(), low_weight.double(), targets).logprobs
    scores = token_scores(low_hidden, low_weight, targets).logprobs
    assert scores.dtype == torch.float32
    assert (scores.double() - exact).abs().max() < 5e-6


def test_a_banned_target_is_refused():
    hidden, weight, targets = inputs()
    with pytest.raises(ValueError, match="a trained token is banned"):
        token_scores(hidden, weight, targets, banned=targets[:1])


def test_no_tensor_as_large_as_all_logits_is_ever_made():
    made: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            made.extend(t.numel() for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, Tensor))
            return out

    hidden, weight, targets = inputs()
    with Watch():
        token_scores(hidden, weight, targets, chunk_tokens=8).logprobs.sum().backward()
    assert max(made) <= max(8 * V, V * H)


def test_no_trained_tokens_give_zero_gradients():
    hidden, weight, _ = inputs()
    scores = token_scores(hidden[:0], weight, torch.zeros(0, dtype=torch.int64))
    found = torch.autograd.grad(scores.logprobs.sum(), (hidden, weight))
    assert all(float(gradient.abs().max()) == 0.0 for gradient in found)
