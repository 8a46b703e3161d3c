"""Weights on their way out: ranks -> one safetensors file under the names that Hugging Face and vLLM read."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch.distributed and safetensors are only partly typed)

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from gen_searcher.config.optim import LoraConfig
from gen_searcher.engines.lora import merged


def save_weights(named: Iterable[tuple[str, Tensor]], path: Path, *, rank: int, lora: LoraConfig | None = None) -> None:
    """Write all weights as one file; every rank must call, rank 0 writes.

    Args:
        named: Every whole weight; iterating may be a collective.
        path: The file.
        rank: This rank.
        lora: Settings of the adapters among the weights, which are merged.
    """
    weights: dict[str, Tensor] = {}
    for name, weight in named:
        if rank == 0:
            weights[name] = weight.cpu().contiguous()
    if rank == 0:
        if lora is not None:
            weights = merged(weights, lora)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file_whole(weights, path)
    dist.barrier()


def save_file_whole(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file that appears under its name only when it is whole."""
    partial = path.with_name(path.name + ".part")
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(path)
