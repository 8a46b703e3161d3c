"""Joining or raising a Ray cluster, and leaving nothing behind."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psutil
import ray
from ray.exceptions import RayError

from gen_searcher.cluster.placement import check_room
from gen_searcher.cluster.scratch import scratch_folder
from gen_searcher.cluster.token_file import guard_token_file
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.secrets import variable
from gen_searcher.errors import UserError
from gen_searcher.metrics.log_fields import JsonLines
from gen_searcher.points import Listener, heard_by, listen

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",  # deprecations between the heavy libraries; ours are errors in the tests
    "TQDM_DISABLE": "1",  # there is one progress display, ours
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "GOMP_SPINCOUNT": "4000",
}
"""Of every actor. Nothing secret ever: Ray shows it in its Jobs API, CLI and logs.

The spin count bounds how long a thread of torch's pool (libgomp) keeps a core while it waits for its siblings. At libgomp's
own count, 300,000, two threads beside one other busy process on two cores take 1.6 times as long as one thread does; at 4,000
1.1 times (`tests/bench/thread_waits.py`).
"""
HEAD_DEADLINE_S = 60.0
"""Longest wait for the head of a cluster to join: a job script starts both at the same time."""
HEAD_POLL_S = 1.0


@contextmanager
def cluster_session(cfg: ClusterConfig, *, run_id: str, command: str) -> Generator[None]:
    """Ray for the length of the block.

    `address="local"` raises a private cluster in a temporary folder; `"auto"` joins the cluster this driver was
    submitted to and never starts one. All actors live in a namespace of this run and die with the driver.

    Raises:
        UserError: Exit code 3; there is no cluster to join, or it has no room for what `command` raises.
    """
    namespace = f"{run_id}-{uuid.uuid4().hex[:8]}"
    raised = _private(cfg, namespace) if cfg.address == "local" else _joined(cfg, namespace)
    listener = None if cfg.fault_plan is None else cast("Listener", cfg.fault_plan.build())
    with raised, heard_by(listener):
        check_room(cfg, command=command)
        yield


@contextmanager
def _private(cfg: ClusterConfig, namespace: str) -> Generator[None]:
    with scratch_folder() as folder:
        with _logs_alike() as logs, _own_signals():
            _raise_private(cfg, namespace, folder, logs)
        guard_token_file()  # Ray has written one if there was none
        try:
            yield
        finally:
            ray.shutdown()


def _raise_private(cfg: ClusterConfig, namespace: str, folder: Path, logs: dict[str, Any]) -> None:
    """In at most two tries. Raises UserError, exit code 3, when the second one fails too."""
    for is_last in (False, True):
        try:
            ray.init(
                address="local",
                namespace=namespace,
                num_cpus=cfg.cpus,
                object_store_memory=cfg.object_store_mib << 20,
                include_dashboard=False,
                log_to_driver=True,
                runtime_env=_runtime_env(cfg),
                _temp_dir=str(folder),
                **logs,
            )
        except Exception as error:  # what Ray raises when its servers are late: nothing more special
            if is_last:
                raise UserError(
                    f"the private Ray cluster of this command did not come up: {error}\nRay gives its servers half a minute, and "
                    "this was the second try; on a machine that is this busy, run the same command again later, or set "
                    "cluster.address=auto and join a cluster that is up",
                    exit_code=3,
                ) from error
            log.warning("the private Ray cluster did not come up (%s); trying once more", error)
            _end_servers(folder)
        else:
            return


def _end_servers(folder: Path) -> None:
    """Of a cluster that was not ready in time; Ray lets them run until this process ends."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


@contextmanager
def _own_signals() -> Generator[None]:
    """Ray brings a SIGTERM handler that leaves with 15; what stood before stands again after the block."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _logs_alike() -> Generator[dict[str, Any]]:
    """Arguments with which workers write JSON lines when this process does. Ray gets no handler of this process's."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    if any(isinstance(handler.formatter, JsonLines) for handler in handlers):
        level = logging.getLevelName(root.level)
        yield {"logging_config": ray.LoggingConfig("JSON", level, additional_log_standard_attrs=["name"])}
    else:
        yield {"logging_level": logging.WARNING}
    root.handlers[:] = handlers


@contextmanager
def _joined(cfg: ClusterConfig, namespace: str) -> Generator[None]:
    guard_token_file()
    address = reach(HEAD_DEADLINE_S)
    try:
        with _logs_alike() as logs, _own_signals():
            ray.init(address="auto", namespace=namespace, runtime_env=_runtime_env(cfg), **logs)
    except (ConnectionError, ValueError, RayError) as error:
        raise _cannot_join(address, str(error)) from error
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        log.info("joined the Ray cluster at %s, %d nodes", ray.get_runtime_context().gcs_address, len(nodes))
        yield
    finally:
        ray.shutdown()


def reach(deadline_s: float) -> str:
    """HOST:PORT of the head to join, once something listens there.

    Raises:
        UserError: Exit code 3; no cluster is named, or nobody answers within `deadline_s`.
    """
    address = _submitted_to()
    _wait_for_head(address, deadline_s)
    return address


def _submitted_to() -> str:
    """Where the cluster is. Left alone, Ray takes any cluster that it finds on the host, whosever it is."""
    address = variable("RAY_ADDRESS")
    if not address:
        raise UserError(
            "cluster.address=auto joins the cluster that this command was submitted to, and RAY_ADDRESS does not name one. "
            "Start this command with `ray job submit`, set RAY_ADDRESS=HOST:PORT of the cluster's head, or use "
            "cluster.address=local",
            exit_code=3,
        )
    return address


def _wait_for_head(address: str, deadline_s: float) -> None:
    """Return once something listens there. Ray itself would look for a quarter of an hour and say little."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise _cannot_join(address, "it is not HOST:PORT, the address that `ray start --head` prints")
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=HEAD_POLL_S):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise _cannot_join(address, f"nobody answers there: {error}") from error
        time.sleep(HEAD_POLL_S)


def _cannot_join(address: str, why: str) -> UserError:
    return UserError(
        f"cluster.address=auto, but the Ray cluster at RAY_ADDRESS={address} cannot be joined: {why}. Start this command "
        "with `ray job submit`, set RAY_ADDRESS to HOST:PORT of a head that runs, or use cluster.address=local",
        exit_code=3,
    )


def _runtime_env(cfg: ClusterConfig) -> dict[str, object]:
    environment: dict[str, object] = {"env_vars": ENVIRONMENT}
    if cfg.fault_plan is not None:
        environment["worker_process_setup_hook"] = _listening(cfg.fault_plan)
    return environment


def _listening(plug: Plug) -> Callable[[], None]:
    """What the process of every actor does first."""

    def start_listening() -> None:
        listen(cast("Listener", plug.build()))

    return start_listening
