"""Ray nodes of the tests' own on this machine, each a session of processes that can be killed. Never calls `ray stop`."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from tests.e2e.hosts import Host
from tests.e2e.ray_head import Head, free_ports

RAY = str(Path(sys.executable).parent / "ray")
START_DEADLINE_S = 180.0
STARTS = 4
"""Of one node: Ray gives up after 30 s, which a busy machine may take."""
STARTED = "Ray runtime started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What `ray start --block` keeps up."""

    process: subprocess.Popen[bytes]
    address: str
    """Of the head: HOST:PORT."""
    log: Path

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End every process of the node, its actors too: what is left of a machine that has lost its power."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        self.process.wait(timeout=60)
        psutil.wait_procs(self._processes(), timeout=30)

    def commands(self) -> list[str]:
        """What runs on the node: `ray::CLASS.method` is an actor."""
        found: list[str] = []
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):  # it has ended since
                found.append(" ".join(process.cmdline()))
        return found

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if _session(process.pid) == self.process.pid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """A cluster that is added to and taken from."""

    folder: Path
    environment: dict[str, str]
    stack: ExitStack
    all: list[Node] = field(default_factory=list[Node])

    def head(self, *, cpus: int = 1, labels: Mapping[str, str] | None = None) -> Node:
        gcs, *ports = free_ports(4)
        return self._head("--include-dashboard=false", gcs=gcs, cpus=cpus, ports=ports, labels=labels or {}, host=None)

    def head_for_jobs(
        self, *, cpus: int = 1, labels: Mapping[str, str] | None = None, host: Host | None = None
    ) -> Head:
        """A head with a dashboard: jobs are submitted to it from outside, with nothing but its address and the token.

        Its dashboard is a dozen more processes. On a busy machine one of them may be late, and Ray then ends the whole head.
        """
        gcs, dashboard, client, *ports = free_ports(6)
        address = "127.0.0.1" if host is None else host.address
        also = (f"--dashboard-port={dashboard}", f"--dashboard-host={address}", f"--ray-client-server-port={client}")
        for _ in range(STARTS):
            node = self._head(*also, gcs=gcs, cpus=cpus, ports=ports, labels=labels or {}, host=host)
            if _wait_listening(node, address, dashboard):
                outside = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
                return Head(address=f"http://{address}:{dashboard}", environment=outside)
            node.end()
        raise RuntimeError(f"no Ray head with a dashboard stays up:{self._heads()}")

    def _head(
        self, *words: str, gcs: int, cpus: int, ports: list[int], labels: Mapping[str, str], host: Host | None
    ) -> Node:
        node = self._start("--head", f"--port={gcs}", *words, cpus=cpus, ports=ports, labels=labels, host=host)
        self.environment["RAY_ADDRESS"] = node.address
        return node

    def worker(
        self, *, cpus: int, labels: Mapping[str, str], host: Host | None = None, memory_gib: int | None = None
    ) -> Node:
        """A node that joins the last head."""
        words = [f"--address={self.environment['RAY_ADDRESS']}"]
        words += [] if memory_gib is None else [f"--memory={memory_gib << 30}"]
        return self._start(*words, cpus=cpus, ports=free_ports(3), labels=labels, host=host)

    def drain(self, node: Node, *, within_s: int) -> None:
        """Tell Ray that the node goes away, as an autoscaler does."""
        subprocess.run(
            [
                *(RAY, "drain-node", f"--address={node.address}", f"--node-id={self._id(node)}"),
                *("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=the test", "--deadline-remaining-seconds"),
                str(within_s),
            ],
            env=self.environment,
            check=True,
            timeout=120,
        )

    def _id(self, node: Node) -> str:
        """As its raylet was told."""
        for process in psutil.process_iter(["cmdline"]):
            if _session(process.pid) == node.process.pid:
                for word in process.info["cmdline"] or ():
                    if word.startswith(("--node_id=", "--node-id=")):
                        return word.partition("=")[2]
        raise LookupError(node)

    def _start(self, *words: str, cpus: int, ports: list[int], labels: Mapping[str, str], host: Host | None) -> Node:
        log = self.folder / f"node-{len(self.all)}.log"
        agent, metrics, grpc = ports
        command = [
            *(() if host is None else host.enter),
            *(RAY, "start", *words, "--block", f"--num-cpus={cpus}", "--disable-usage-stats"),
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"),
            *(f"--metrics-export-port={metrics}", "--object-store-memory=100000000"),
            *([] if host is None else [f"--node-ip-address={host.address}"]),
            *([f"--temp-dir={self.folder}"] if "--head" in words else []),
            *([f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []),
        ]
        for _ in range(STARTS):
            with log.open("w") as out:
                process = subprocess.Popen(
                    command, env=self.environment, stdout=out, stderr=out, start_new_session=True
                )
            node = Node(process=process, address=self.environment.get("RAY_ADDRESS", ""), log=log)
            self.stack.callback(node.end)  # whatever happens to the start
            address = _wait_started(process, log)
            if process.poll() is None:
                up = replace(node, address=address or node.address)
                self.all.append(up)
                return up
            node.end()  # what it has started goes on without it
        raise RuntimeError(f"a Ray node did not start:\n{log.read_text()[-2000:]}{self._heads()}")

    def _heads(self) -> str:
        """What heads say that have ended by themselves: a node that does not start may have nothing to join."""
        ended = [node for node in self.all if node.process.poll() is not None]
        return "".join(f"\n{node.log.name} has ended:\n{node.log.read_text()[-2000:]}" for node in ended)


@contextmanager
def ray_nodes() -> Iterator[Nodes]:
    """No node yet; those that are started are ended with the block."""
    environment = dict(os.environ)  # noqa: TID251 - child processes inherit it; nothing here is configured by it
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        # A busy machine takes more than the usual 15, 30 and 60 s to start them.
        "RAY_agent_register_timeout_ms": "120000",
        "RAY_gcs_server_port_wait_time_s": "120",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "180",
    }
    environment.pop("RAY_ADDRESS", None)
    # Sockets below Ray's folder have long names: pytest's own temporary folders are too deep for them.
    with (
        tempfile.TemporaryDirectory(prefix="gs-nodes-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        yield Nodes(folder=Path(folder), environment=environment, stack=stack)


def _wait_started(process: subprocess.Popen[bytes], log: Path) -> str | None:
    """Return once the node is up or has ended; HOST:PORT of a head that is up."""
    deadline = time.monotonic() + START_DEADLINE_S
    while STARTED not in (said := log.read_text()):
        if process.poll() is not None:
            return None
        if time.monotonic() > deadline:
            raise RuntimeError(f"a Ray node did not start:\n{said[-2000:]}")
        time.sleep(0.2)
    joins = said.partition("--address='")[2].partition("'")[0]
    return joins or None


def _wait_listening(node: Node, host: str, port: int) -> bool:
    """Return True once somebody listens there, False when the node has ended before."""
    while node.process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(5)
            if probe.connect_ex((host, port)) == 0:
                return True
        time.sleep(0.2)
    return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
