"""The seam between a learner rank and whoever shards weights, gradients and optimizer state over the ranks.

`Backend` is what a step needs, `ShardedState` what checkpoints and exports need; a backend is both.
"""
# pyright: reportUnknownMemberType=false
# (torch.distributed is only partly typed)

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gen_searcher.config.optim import OptimConfig
from gen_searcher.grpo.tensors import RowTensors

Kind = Literal["master", "exp_avg", "exp_avg_sq"]
"""The three float32 numbers that AdamW keeps of each trained weight."""
KINDS: tuple[Kind, ...] = ("master", "exp_avg", "exp_avg_sq")
PREFIX = "model."
"""Of the names in `PackedPolicy`, before those of Hugging Face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """This rank's share of one float32 tensor: a run of its flattened values."""

    values: Tensor
    """[n] a view: writing to it writes the state; empty where the rank holds nothing."""
    start: int
    """Where the run begins in the flattened tensor."""
    shape: torch.Size
    """Of the whole tensor."""


class Backend(Protocol):
    """Forward pass, gradient and update over all ranks. Ranks call the same methods in the same order."""

    def score(self, row: RowTensors, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of each trained token of the row, [N] each."""
        ...

    def backward(self, loss: Tensor, *, is_last: bool) -> None:
        """Add the gradient of `loss` to that of the step; the losses of all rows and ranks add up.

        Args:
            loss: [] this row's share of the step's loss.
            is_last: No further row of this rank belongs to the step.
        """
        ...

    def step(self, *, lr: float) -> float:
        """Clip, update, forget the gradient. Returns the gradient's L2 norm over all ranks, before clipping."""
        ...


class ShardedState(Protocol):
    """What is worth keeping, whatever the backend and the number of ranks."""

    def shards(self, kind: Kind) -> dict[str, Shard]:
        """This rank's share of every trained parameter, in the same order on all ranks.

        The two averages exist only after the first update.
        """
        ...

    def restoring(self, *, updates: int) -> AbstractContextManager[None]:
        """Inside it shards may be written; on leaving, the weights that compute are those of `master`.

        Args:
            updates: How many updates led to what is being restored.
        """
        ...

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every whole weight, frozen ones too, under its Hugging Face name. All ranks must iterate to the end."""
        ...


class LearnerBackend(Backend, ShardedState, Protocol):
    """Both."""


def named_trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What the optimizer updates, under Hugging Face names; a parameter that is tied to another comes once."""
    return [(name.removeprefix(PREFIX), p) for name, p in module.named_parameters() if p.requires_grad]


def make_optimizer(module: nn.Module, optim: OptimConfig) -> torch.optim.AdamW:
    """PyTorch's own AdamW, which needs no compiler, on everything that is trained."""
    return torch.optim.AdamW(
        [parameter for _, parameter in named_trained(module)],
        lr=0.0,  # set before every step: the schedule is ours
        betas=optim.betas,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        fused=True,
    )


def whole(shard: Shard, *, owner: int | None = None) -> Tensor:
    """Join the ranks' shares of one tensor; every rank must call.

    Args:
        shard: This rank's share.
        owner: The rank that needs the result; what the others get is no use. None for all of them.
    """
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    flat = torch.zeros(shard.shape.numel(), device=device)
    flat[shard.start : shard.start + shard.values.numel()] = shard.values
    if owner is None:
        dist.all_reduce(flat)
    else:
        dist.reduce(flat, dst=owner)
    return flat.reshape(shard.shape)
