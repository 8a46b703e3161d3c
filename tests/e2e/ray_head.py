"""A Ray cluster of the tests' own: private ports, private folder, token auth on. Never calls `ray stop`."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE_S = 90.0
PORTS = range(21000, 29000)
"""Outside Ray's own worker range 10002-19999."""


SUBMISSIONS = 8
"""Each takes seconds."""
SCRIPT = Path(__file__).parents[2] / "launch" / "ray_job.sh"
NO_AGENT_YET = "No available agent to submit job"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where to submit jobs, and the environment to do it in."""

    address: str
    environment: dict[str, str]

    def submit(self, *command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """`ray job submit`, waiting for the job to end. Asked again while a slow machine's head has no job agent yet."""
        ray = str(Path(sys.executable).parent / "ray")
        return self._asked_again([ray, "job", "submit", "--address", self.address, "--", *command], timeout_s=timeout_s)

    def submit_by_script(self, *words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """`launch/ray_job.sh`, likewise; the words are those of `gen-searcher`."""
        return self._asked_again(["bash", str(SCRIPT), *words], timeout_s=timeout_s)

    def ray(self, *words: str) -> str:
        """What `ray` answers about this cluster."""
        ray = str(Path(sys.executable).parent / "ray")
        done = self._run([ray, *words[:2], "--address", self.address, *words[2:]], timeout_s=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _asked_again(self, command: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        for _ in range(SUBMISSIONS - 1):
            done = self._run(command, timeout_s=timeout_s)
            if NO_AGENT_YET not in done.stdout + done.stderr:
                return done
        return self._run(command, timeout_s=timeout_s)

    def _run(self, command: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**self.environment, "RAY_ADDRESS": self.address},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@contextmanager
def ray_head(folder: Path, *, home: Path | None = None) -> Iterator[Head]:
    """A head node for the length of the block. Its token is a new one, or the one that lies in `home`."""
    ports = iter(free_ports(6))
    gcs, dashboard = next(ports), next(ports)
    bin_dir = Path(sys.executable).parent
    inherited = os.environ  # noqa: TID251 - a child process inherits it; nothing here is configured by it
    environment = {
        **inherited,
        "PATH": f"{bin_dir}:{inherited['PATH']}",
        "RAY_AUTH_MODE": "token",
        **({"RAY_AUTH_TOKEN": secrets.token_hex(16)} if home is None else {"HOME": str(home)}),
    }
    environment.pop("RAY_ADDRESS", None)
    command = [
        str(bin_dir / "ray"), "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats",
        "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--port={gcs}", f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={next(ports)}", f"--dashboard-agent-grpc-port={next(ports)}",
        f"--ray-client-server-port={next(ports)}", f"--metrics-export-port={next(ports)}",
        f"--temp-dir={folder}", "--object-store-memory=150000000",
    ]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(dashboard, head, folder / "head.log")
        yield Head(address=f"http://127.0.0.1:{dashboard}", environment=environment)
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def _wait_for(port: int, head: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if head.poll() is not None:
            raise RuntimeError(f"the Ray head ended with {head.returncode}:\n{log.read_text()[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"no Ray dashboard on port {port}:\n{log.read_text()[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. Chosen at random: other tests of the machine look for some as well."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")
