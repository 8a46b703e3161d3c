"""Ray nodes of the tests' own on this machine, each a session of processes that can be killed. Never calls `ray stop`."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.e2e.ray_head import free_ports

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
            process.send_signal(number)
        self.process.wait(timeout=60)
        psutil.wait_procs(self._processes(), timeout=30)

    def commands(self) -> list[str]:
        """What runs on the node: `ray::CLASS.method` is an actor."""
        return [" ".join(process.cmdline()) for process in self._processes()]

    def _processes(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in psutil.pids() if _session(pid) == self.process.pid]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """A cluster that is added to and taken from."""

    folder: Path
    environment: dict[str, str]
    stack: ExitStack
    all: list[Node] = field(default_factory=list[Node])

    def head(self, *, cpus: int = 1, labels: Mapping[str, str] | None = None) -> Node:
        gcs, *ports = free_ports(4)
        node = self._start(
            "--head", f"--port={gcs}", "--include-dashboard=false", cpus=cpus, ports=ports, labels=labels or {}
        )
        self.environment["RAY_ADDRESS"] = node.address
        return node

    def worker(self, *, cpus: int, labels: Mapping[str, str]) -> Node:
        """A node that joins the last head."""
        address = f"--address={self.environment['RAY_ADDRESS']}"
        return self._start(address, cpus=cpus, ports=free_ports(3), labels=labels)

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

    def _start(self, *words: str, cpus: int, ports: list[int], labels: Mapping[str, str]) -> Node:
        log = self.folder / f"node-{len(self.all)}.log"
        agent, metrics, grpc = ports
        command = [
            *(RAY, "start", *words, "--block", f"--num-cpus={cpus}", "--disable-usage-stats"),
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}"),
            *(f"--metrics-export-port={metrics}", "--object-store-memory=100000000"),
            *([f"--temp-dir={self.folder}"] if "--head" in words else []),
            *([f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []),
        ]
        for _ in range(STARTS):
            with log.open("w") as out:
                process = subprocess.Popen(
                    command, env=self.environment, stdout=out, stderr=out, start_new_session=True
                )
            address = _wait_started(process, log)
            node = Node(process=process, address=address or self.environment.get("RAY_ADDRESS", ""), log=log)
            if process.poll() is None:
                self.all.append(node)
                self.stack.callback(node.end)
                return node
            node.end()  # what it has started goes on without it
        raise RuntimeError(f"a Ray node did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def ray_nodes() -> Iterator[Nodes]:
    """No node yet; those that are started are ended with the block."""
    environment = dict(os.environ)  # noqa: TID251 - child processes inherit it; nothing here is configured by it
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_agent_register_timeout_ms": "120000",  # a busy machine takes more than the usual 15 s to start Python
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


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
