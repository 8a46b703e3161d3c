"""Muon with AdamW beside it: in minutes of CPU the painter's parts get 5 dB further than with AdamW alone.

Method: https://kellerjordan.github.io/posts/muon/ (momentum, then the nearest semi-orthogonal matrix); a convolution
counts as the matrix [out, in * height * width], which `torch.optim.Muon` does not take.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: torch leaves the optimizer's step and state unannotated.

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_WARMUP_STEPS = 20
_FLOOR = 0.02


class PainterOptimizer:
    """One step for all parameters of some modules, with warm-up and a cosine down to almost nothing."""

    def __init__(self, modules: Sequence[nn.Module], *, matrix_lr: float, other_lr: float) -> None:
        """Matrices and kernels between hidden layers get Muon at `matrix_lr`, everything else AdamW at `other_lr`."""
        self.parameters: list[nn.Parameter] = []
        self._matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for module in modules:
            for name, parameter in module.named_parameters():
                self.parameters.append(parameter)
                (self._matrices if _is_hidden_matrix(name, parameter) else others).append(parameter)
        self._momenta = [torch.zeros_like(parameter) for parameter in self._matrices]
        self._adam = torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0)
        self._matrix_lr = matrix_lr
        self._other_lr = other_lr
        self._steps = 0

    def step(self, loss: Tensor, *, done: float) -> None:
        """Descend; `done` is the fraction of the time that is over."""
        scale = min(1.0, (self._steps + 1) / _WARMUP_STEPS)
        scale *= _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        self._steps += 1
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self._adam.param_groups:
            group["lr"] = self._other_lr * scale
        self._adam.step()
        with torch.no_grad():
            for parameter, momentum in zip(self._matrices, self._momenta, strict=True):
                if parameter.grad is None:
                    continue
                momentum.lerp_(parameter.grad, 1 - _MOMENTUM)
                update = orthogonal(parameter.grad.lerp(momentum, _MOMENTUM).flatten(1))
                stretch = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.add_(update.view_as(parameter), alpha=-self._matrix_lr * scale * stretch)


class Average:
    """A running mean of parameters, younger steps first; sharper than the last step."""

    def __init__(self, parameters: Sequence[nn.Parameter], *, decay: float = 0.99) -> None:
        """`decay` is reached after the first hundred steps or so."""
        self._parameters = parameters
        self._means = [parameter.detach().clone() for parameter in parameters]
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange parameters and means; a second call undoes it."""
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            current = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(current)


def orthogonal(matrix: Tensor) -> Tensor:
    """[M, N] -> about the semi-orthogonal matrix nearest in direction: all singular values near 1."""
    a, b, c = _NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if is_tall else x).to(matrix.dtype)


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    ends = ("conv_in.weight", "conv_out.weight", "embed_tokens.weight", "proj_out.weight", "lm_head.weight")
    return parameter.ndim in {2, 4} and not name.endswith(ends)
