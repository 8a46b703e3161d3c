"""Joining or raising a Ray cluster, and leaving nothing behind."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownParameterType=false
# (ray is only partly typed)

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import ray

from gen_searcher.cluster.placement import check_room
from gen_searcher.cluster.scratch import scratch_folder
from gen_searcher.config.cluster import ClusterConfig
from gen_searcher.config.plug import Plug
from gen_searcher.config.secrets import Secret
from gen_searcher.errors import ConfigError, UserError
from gen_searcher.points import Listener, heard_by, listen

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
            ray.init(
                address="local",
                namespace=namespace,
                num_cpus=cfg.cpus,
                object_store_memory=cfg.object_store_mib << 20,
                include_dashboard=False,
                log_to_driver=True,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": ENVIRONMENT},
                _temp_dir=str(folder),
            )
            _narrow_token()
            try:
                check_room(cfg, command=command)
                yield
            finally:
                ray.shutdown()
    else:
        try:
            ray.init(
                address="auto",
                namespace=namespace,
                logging_level=logging.WARNING,
                runtime_env={"env_vars": ENVIRONMENT},
            )
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


def _narrow_token() -> None:
    if AUTH_TOKEN.exists() and AUTH_TOKEN.stat().st_mode & 0o077:
        AUTH_TOKEN.chmod(0o600)
