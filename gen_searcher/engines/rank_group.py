"""A process among its peers: Place -> environment and process group. No word of what is computed in it."""
# pyright: reportUnknownMemberType=false
# (torch.distributed is only partly typed)

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from gen_searcher.engines.environment import set_values

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""A rank that waits longer for its peers has lost them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One rank among its peers."""

    rank: int = 0
    world: int = 1
    master_addr: str = "127.0.0.1"
    master_port: int = 29500
    device: str = "cpu"
    """`cpu` (gloo) or `cuda` (NCCL, the one device that the process sees)."""

    @property
    def backend(self) -> str:
        """PyTorch's name of the library that moves tensors between the ranks."""
        return "gloo" if self.device == "cpu" else "nccl"


def join_group(place: Place, *, threads: int) -> None:
    """Meet the other ranks, unless this process already has.

    Args:
        place: This rank.
        threads: Compute threads of this process.
    """
    values = {"OMP_NUM_THREADS": str(threads)}
    if place.device == "cpu" and place.master_addr == "127.0.0.1":
        values["GLOO_SOCKET_IFNAME"] = "lo"  # the host's name need not resolve
    set_values(values)
    torch.set_num_threads(threads)
    if not dist.is_initialized():
        dist.init_process_group(
            place.backend,
            init_method=f"tcp://{place.master_addr}:{place.master_port}",
            rank=place.rank,
            world_size=place.world,
            timeout=COLLECTIVE_TIMEOUT,
        )
