"""Joining or raising a Ray cluster, and leaving nothing behind."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from gen_searcher.cluster.placement import check_room
from gen_searcher.cluster.scratch import scratch_folder
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.errors import UserError
from gen_searcher.metrics.log_fields import JsonLines

log = logging.getLogger(__name__)

ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",  # deprecations between the heavy libraries; ours are errors in the tests
    "TQDM_DISABLE": "1",  # there is one progress display, ours
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Of every actor. Nothing secret ever: Ray shows it in its Jobs API, CLI and logs."""
AUTH_TOKEN = Path.home() / ".ray" / "auth_token"
"""Ray writes its token here readable by everyone; we narrow it."""


@contextmanager
def cluster_session(cfg: ClusterConfig, *, run_id: str, command: str) -> Generator[None]:
    """Ray for the length of the block.

    `address="local"` raises a private cluster in a temporary folder; `"auto"` joins the cluster this driver was
    submitted to and never starts one. All actors live in a namespace of this run and die with the driver.

    Raises:
        UserError: Exit code 3; there is no cluster to join, or it has no room for what `command` raises.
    """
    namespace = f"{run_id}-{uuid.uuid4().hex[:8]}"
    if cfg.address == "local":
        with scratch_folder() as folder:
            with _logs_alike() as logs, _own_signals():
                ray.init(
                    address="local",
                    namespace=namespace,
                    num_cpus=cfg.cpus,
                    object_store_memory=cfg.object_store_mib << 20,
                    include_dashboard=False,
                    log_to_driver=True,
                    runtime_env={"env_vars": ENVIRONMENT},
                    _temp_dir=str(folder),
                    **logs,
                )
            _narrow_token()
            try:
                check_room(cfg, command=command)
                yield
            finally:
                ray.shutdown()
    else:
        try:
            with _logs_alike() as logs, _own_signals():
                ray.init(address="auto", namespace=namespace, runtime_env={"env_vars": ENVIRONMENT}, **logs)
        except ConnectionError as error:
            raise UserError(
                f"cluster.address=auto, but there is no Ray cluster to join ({error}). Start this command with "
                "`ray job submit`, or use cluster.address=local",
                exit_code=3,
            ) from error
        try:
            check_room(cfg, command=command)
            yield
        finally:
            ray.shutdown()


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


def _narrow_token() -> None:
    if AUTH_TOKEN.exists() and AUTH_TOKEN.stat().st_mode & 0o077:
        AUTH_TOKEN.chmod(0o600)
