"""Low-rank adapters: linear layers that learn a product of two thin matrices, and that product merged back.

`y = x W^T + (alpha / rank) x A^T B^T` with W fixed, https://arxiv.org/abs/2106.09685. B starts at zero, so that an
adapted model is the one it started from.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch.nn modules are only partly typed)

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from gen_searcher.config.optim import LoraConfig
from gen_searcher.errors import UserError

DOWN, UP = "lora_down", "lora_up"
"""A and B, beside the `weight` that they change."""
SEED = 0
"""All ranks must start from the same A."""


class LoraLinear(nn.Module):
    """A linear layer under the names of the one it replaces, with two matrices more."""

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        """Take over the weight of `base`."""
        super().__init__()
        self.weight = base.weight
        self.bias = base.bias
        down = torch.empty(rank, base.in_features)
        bound = 1.0 / math.sqrt(base.in_features)
        down.uniform_(-bound, bound, generator=generator)
        self.lora_down = nn.Parameter(down)
        self.lora_up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        delta = nn.functional.linear(nn.functional.linear(x, self.lora_down), self.lora_up)
        return nn.functional.linear(x, self.weight, self.bias) + self.scale * delta


def add_adapters(model: nn.Module, config: LoraConfig) -> None:
    """Replace the layers that the settings name; everything but the adapters stops learning.

    Raises:
        UserError: The model has no layer of such a name.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(SEED)
    adapted = 0
    for parent_name, parent in list(model.named_modules()):
        if "visual" in parent_name:
            continue
        for name, child in list(parent.named_children()):
            if name in config.targets and isinstance(child, nn.Linear):
                parent.add_module(name, LoraLinear(child, rank=config.rank, alpha=config.alpha, generator=generator))
                adapted += 1
    if not adapted:
        raise UserError(f"lora.targets: the policy has no linear layer named {', '.join(config.targets)}")


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The weights of a plain model that computes the same; names of adapters are gone.

    Args:
        weights: By Hugging Face name, with `NAME.lora_down` and `NAME.lora_up` beside `NAME.weight`.
        config: As the adapters were made.
    """
    plain = {name: weight for name, weight in weights.items() if not name.endswith((DOWN, UP))}
    for name in adapted_weights(weights):
        layer = name.removesuffix("weight")
        delta = weights[layer + UP].float() @ weights[layer + DOWN].float() * (config.alpha / config.rank)
        plain[name] = (plain[name].float() + delta).to(plain[name].dtype)
    return plain


def adapted_weights(names: Iterable[str]) -> list[str]:
    """Names of the weights that have an adapter."""
    return [name.removesuffix(DOWN) + "weight" for name in names if name.endswith(DOWN)]
