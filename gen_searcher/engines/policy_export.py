"""Weights on their way out: ranks -> one safetensors file under the names that Hugging Face and vLLM read."""

from __future__ import annotations

from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from gen_searcher.engines.learner_backend import ShardedState


def save_weights(state: ShardedState, path: Path, *, rank: int) -> None:
    """Write all weights as one file; every rank must call, rank 0 writes."""
    weights: dict[str, Tensor] = {}
    for name, weight in state.weights():
        if rank == 0:
            weights[name] = weight.cpu().contiguous()
    if rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file_whole(weights, path)
    dist.barrier()


def save_file_whole(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file that appears under its name only when it is whole."""
    partial = path.with_name(path.name + ".part")
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(path)
