"""A process among its peers: Place -> environment and process group. No word of what is computed in it."""
# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
# (torch.distributed is only partly typed)

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist

from gen_searcher.engines.environment import set_unless_given, set_values

MeetingStore = dist.TCPStore
"""What rank 0 holds open and the others go to."""
COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""A rank that waits longer for its peers has lost them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One rank among its peers."""

    rank: int = 0
    world: int = 1
    store: dist.Store = field(default_factory=dist.HashStore)
    """Where the ranks find each other: `meet` or `find`; this process alone by default."""
    address: str = "127.0.0.1"
    """Of this host, where the ranks of other hosts reach it; the default: there are none."""
    device: str = "cpu"
    """`cpu` (gloo) or `cuda` (NCCL, the one device that the process sees)."""

    @property
    def backend(self) -> str:
        """PyTorch's name of the library that moves tensors between the ranks."""
        return "gloo" if self.device == "cpu" else "nccl"


def meet(address: str, *, world: int) -> MeetingStore:
    """Open the place where `world` ranks find each other, on a free port of `address` that is held from now on."""
    return MeetingStore(address, 0, world, is_master=True, timeout=COLLECTIVE_TIMEOUT, wait_for_workers=False)


def find(address: str, port: int, *, world: int, opened: MeetingStore | None = None) -> MeetingStore:
    """Go to the place that another process has opened; `opened` when it was this one."""
    if opened is not None:
        return opened
    return MeetingStore(address, port, world, is_master=False, timeout=COLLECTIVE_TIMEOUT)


def interface_of(address: str) -> str | None:
    """The network interface that has this address; None: no one here has, as behind a translation of addresses."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return name
    return None


def join_group(place: Place, *, threads: int) -> None:
    """Meet the other ranks, unless this process already has.

    Args:
        place: This rank.
        threads: Compute threads of this process.
    """
    set_values({"OMP_NUM_THREADS": str(threads)})
    interface = interface_of(place.address)
    if place.device == "cpu" and interface is not None:
        # Left alone, gloo listens where the host's own name resolves to: nowhere, or on many a host its loopback.
        set_unless_given({"GLOO_SOCKET_IFNAME": interface})
    torch.set_num_threads(threads)
    if not dist.is_initialized():
        dist.init_process_group(
            place.backend,
            store=place.store,
            rank=place.rank,
            world_size=place.world,
            timeout=COLLECTIVE_TIMEOUT,
        )
