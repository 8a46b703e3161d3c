"""Published weights over the network: the learner's file -> gloo, one pair of processes at a time -> a file here.

For nodes that share no memory. An engine pulls, so nobody needs to know who is there: one that restarts asks like any
other, and one that dies spoils only its own pair. The learner sends from the published file, in a thread, while it
goes on training; the engine receives before it freezes anything and loads the copy like any other file.
"""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 << 20
"""Of one transfer."""
TIMEOUT = timedelta(minutes=5)
"""Of one chunk, and of the meeting before it."""
FOREVER = timedelta(days=365)
ASKS = "asks"
"""Key of the number of asks so far; the n-th stands under `ask/<n>`, its answer's size under `size/<n>`."""
GONE = -1
"""Size of a file that is not there any more: a newer version has replaced it."""


class WeightServer:
    """Hands out files of one folder from a thread of the learner's process."""

    def __init__(self, folder: Path, *, host: str) -> None:
        """`host` is an address of this machine that the engines can reach; the port is the system's choice."""
        self._folder = folder
        self._store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)
        self.address = f"{host}:{self._store.port}"
        threading.Thread(target=self._serve, name="weight-server", daemon=True).start()

    def _serve(self) -> None:
        store = dist.TCPStore(*_host_and_port(self.address), is_master=False, wait_for_workers=False)
        number = 0
        while True:
            number += 1
            store.wait([f"ask/{number}"], FOREVER)
            threading.Thread(target=self._answer, args=(number,), name=f"weights-{number}", daemon=True).start()

    def _answer(self, number: int) -> None:
        store = dist.TCPStore(*_host_and_port(self.address), is_master=False, wait_for_workers=False)
        try:
            file = (self._folder / Path(store.get(f"ask/{number}").decode()).name).open("rb")
        except FileNotFoundError:
            store.set(f"size/{number}", str(GONE))
            return
        with file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as pages:
            whole = torch.frombuffer(pages, dtype=torch.uint8)
            store.set(f"size/{number}", str(len(whole)))
            try:
                pair = _pair(store, number, rank=0)
                for chunk in _chunks(whole):
                    pair.send([chunk], 1, 0).wait()
            except RuntimeError:  # gloo's only error: the engine died, and with it this pair
                log.exception("an engine did not take its weights")
            finally:
                del whole


def fetch(address: str, name: str, target: Path) -> None:
    """Copy the learner's published file `name` to `target`, which appears when it is whole.

    Raises:
        FileNotFoundError: The learner has a newer version by now.
        RuntimeError: The learner is gone.
    """
    store = dist.TCPStore(*_host_and_port(address), is_master=False, wait_for_workers=False, timeout=TIMEOUT)
    number = store.add(ASKS, 1)
    store.set(f"ask/{number}", name)
    size = int(store.get(f"size/{number}"))
    if size == GONE:
        raise FileNotFoundError(f"{address} does not publish {name} any more")
    partial = target.with_name(target.name + ".part")
    with partial.open("w+b") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), size) as pages:
            whole = torch.frombuffer(pages, dtype=torch.uint8)
            pair = _pair(store, number, rank=1)
            for chunk in _chunks(whole):
                pair.recv([chunk], 0, 0).wait()
            del whole, chunk
    partial.replace(target)


def _pair(store: dist.Store, number: int, *, rank: int) -> dist.ProcessGroupGloo:
    return dist.ProcessGroupGloo(dist.PrefixStore(f"pair/{number}", store), rank, 2, TIMEOUT)


def _chunks(whole: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(whole), CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
