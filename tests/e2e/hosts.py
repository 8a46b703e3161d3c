"""Hosts with networks of their own on this machine: Linux network namespaces on a bridge. Needs root and `ip` (iproute2)."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One of them."""

    namespace: str
    address: str
    """The only one that it has beside its own loopback."""

    @property
    def enter(self) -> tuple[str, ...]:
        """Words before a command that make it run there."""
        return ("ip", "netns", "exec", self.namespace)


class NoHosts(Exception):
    """This machine does not let us make any; the message says why."""


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Hosts that reach each other and are reached from here; they are gone after the block, and so is their bridge.

    Raises:
        NoHosts: No `ip`, or no right to make a namespace, a bridge or a pair of interfaces.
    """
    if shutil.which("ip") is None:
        raise NoHosts("there is no `ip` command (package iproute2)")
    mark = secrets.token_hex(2)
    net = f"10.{200 + int(mark[:2], 16) % 50}.{int(mark[2:], 16)}"
    bridge = f"gs{mark}"
    with ExitStack() as stack:
        _made(stack, ("link", "add", bridge, "type", "bridge"), undo=("link", "del", bridge))
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made: list[Host] = []
        for number in range(count):
            host = Host(namespace=f"gs{mark}-{number}", address=f"{net}.{number + 2}")
            _made(stack, ("netns", "add", host.namespace), undo=("netns", "del", host.namespace))
            inside, outside = f"gs{mark}i{number}", f"gs{mark}o{number}"
            # The pair goes with the namespace.
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", host.namespace)
            _ip("link", "set", outside, "master", bridge, "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", inside)
            for name in (inside, "lo"):
                _ip("-n", host.namespace, "link", "set", name, "up")
            made.append(host)
        yield made


def _made(stack: ExitStack, words: tuple[str, ...], *, undo: tuple[str, ...]) -> None:
    _ip(*words)
    stack.callback(_ip, *undo)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise NoHosts(f"`ip {' '.join(words)}`: {done.stderr.strip()}")
